"""Jupyter kernels in sandboxes that a project's ``moat.yaml`` describes."""

__version__ = "0.1.0"
