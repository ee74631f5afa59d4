"""Pods of a Kubernetes cluster, each of which one stream of exec's carries."""
