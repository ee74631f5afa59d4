"""What is asked of a cluster, and what is said of what it refuses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from moat_nb.config.model import ClusterOptions
from moat_nb.errors import RuntimeUnavailable, StartError
from moat_nb.runtimes.kubernetes.cluster import Cluster
from tests.unit.runtimes.kubernetes.api import Api

MADE = {"metadata": {"name": "p", "resourceVersion": "7"}}


def pod(state: str, **more: str) -> dict[str, object]:
    states = [{"name": "kernel", "state": {state: more}}]
    return {"metadata": {"resourceVersion": "8"}, "status": {"containerStatuses": states}}


@pytest.fixture
def cluster(api: Api, tmp_path: Path) -> Cluster:
    return Cluster(ClusterOptions(), api.config(tmp_path, namespace="ada"))


def test_a_context_and_its_namespace_are_the_kubeconfigs(api: Api, tmp_path: Path) -> None:
    environ = api.config(tmp_path, namespace="ada")
    assert Cluster(ClusterOptions(), environ).where == "Kubernetes (tests, namespace ada)"
    named = Cluster(ClusterOptions(namespace="eve"), environ)
    assert named.namespace == "eve" and named.context == "tests"
    assert Cluster(ClusterOptions(), api.config(tmp_path)).namespace == "default"
    assert api.asked == []


@pytest.mark.parametrize("text", ["", "[]", "current-context: x", "{"])
def test_what_is_no_kubeconfig_is_an_error_in_words(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)
    with pytest.raises(RuntimeUnavailable, match=r"kubernetes: .*config"):
        _ = Cluster(ClusterOptions(), {"KUBECONFIG": str(tmp_path / "config")}).where


def test_without_a_kubeconfig_there_is_no_cluster(tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailable, match="there is no kubeconfig"):
        _ = Cluster(ClusterOptions(), {"HOME": str(tmp_path)}).where


def test_a_context_that_is_missing_is_told_with_those_there_are(api: Api, tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailable, match="has no context x: tests"):
        _ = Cluster(ClusterOptions(context="x"), api.config(tmp_path)).where


def test_a_cluster_that_is_away_is_an_error(tmp_path: Path) -> None:
    api = Api()
    api.port = 9  # discard, where nobody listens
    with pytest.raises(StartError, match=r"Kubernetes \(tests"):
        _ = Cluster(ClusterOptions(), api.config(tmp_path)).version


def test_what_it_refuses_is_told_in_its_words(api: Api, cluster: Cluster) -> None:
    api.answers["POST", "/pods"] = 403, {"message": "pods is\nforbidden"}
    with pytest.raises(StartError, match=r"pods is forbidden; docs/kubernetes.md has the Role"):
        cluster.make_pod({})
    api.answers["POST", "/pods"] = 403, {"message": "exceeded quota: few"}
    with pytest.raises(StartError, match=r"exceeded quota: few$"):
        cluster.make_pod({})


def test_one_is_for_all_that_are_made_alike(api: Api, tmp_path: Path) -> None:
    environ, options = api.config(tmp_path), ClusterOptions(grace=1)
    made = Cluster.of(options, environ)
    assert Cluster.of(ClusterOptions(storage_mb=1), environ) is made
    assert Cluster.of(ClusterOptions(namespace="x"), environ) is not made
    os.utime(tmp_path / "config", (1, 1))
    assert Cluster.of(options, environ) is not made


def test_what_is_not_there_is_no_error(cluster: Cluster) -> None:
    assert cluster.pod("p") is None and cluster.claim("c") is None
    assert not cluster.delete_pod("p") and not cluster.delete_claim("c")


def test_a_pod_is_waited_for_until_it_runs(api: Api, cluster: Cluster) -> None:
    waiting = {"type": "MODIFIED", "object": pod("waiting", reason="ErrImagePull")}
    running = {"type": "MODIFIED", "object": pod("running")}
    api.answers["WATCH", "/pods"] = 200, [waiting, running]
    cluster.until_it_runs(MADE, "kernel")
    assert api.asked == [("WATCH", "/api/v1/namespaces/ada/pods", None)]


def test_a_pod_that_will_never_run_is_not_waited_for(api: Api, cluster: Cluster) -> None:
    cause = pod("waiting", reason="ErrImagePull", message="no such image")
    gone = pod("waiting", reason="ImagePullBackOff", message="back-off")
    events = [{"type": "MODIFIED", "object": each} for each in (cause, gone)]
    api.answers["WATCH", "/pods"] = 200, events
    with pytest.raises(StartError, match=r"p: ErrImagePull.*no such image; ImagePullBackOff"):
        cluster.until_it_runs(MADE, "kernel")
