"""What services need of a cluster beside a start."""

from __future__ import annotations

from pathlib import Path

import pytest

from moat_nb.config.model import ClusterOptions
from moat_nb.errors import ImageError
from moat_nb.runtimes.kubernetes.cluster import Cluster
from moat_nb.runtimes.kubernetes.containers import PodContainers
from moat_nb.text.progress import Silent
from tests.unit.runtimes.kubernetes.api import Api


@pytest.fixture
def containers(api: Api, tmp_path: Path) -> PodContainers:
    return PodContainers(
        Cluster(ClusterOptions(), api.config(tmp_path)), {"DOCKER_HOST": "unix:///nowhere"}
    )


def test_what_docker_hubs_own_images_run_is_known(containers: PodContainers) -> None:
    found = containers.image_config("postgres:17", Silent())
    assert (*found.entrypoint, *found.command) == ("docker-entrypoint.sh", "postgres")
    assert found.stop_signal == "INT" and found.volumes == ("/var/lib/postgresql/data",)
    assert containers.image_config("redis", Silent()).command == ("redis-server",)


@pytest.mark.parametrize("image", ["mine/postgres:17", "r.example:5000/redis", "nginx"])
def test_of_any_other_an_engine_must_tell(containers: PodContainers, image: str) -> None:
    with pytest.raises(ImageError, match="no engine here does"):
        containers.image_config(image, Silent())


def test_a_command_runs_until_its_status_comes(api: Api, containers: PodContainers) -> None:
    containers.place("moat-p-db-0", "p", "db")
    id = containers.exec("moat-p-db-0", ("pg_isready",))
    assert containers.exit_code(id) is None
    containers._running[id].send(b"exit")
    while (code := containers.exit_code(id)) is None:
        pass
    assert code == 3
    assert api.asked == [("EXEC", "/api/v1/namespaces/default/pods/p/exec", ["pg_isready"])]
