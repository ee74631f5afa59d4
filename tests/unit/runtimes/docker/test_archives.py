"""Volumes of a real engine that are filled and read by containers which never start."""

from __future__ import annotations

import contextlib
import io
import secrets
import tarfile
from collections.abc import Iterator

import pytest
from docker.errors import ImageNotFound

from moat_nb.errors import StartError
from moat_nb.runtimes.docker.archives import EMPTY_IMAGE, EngineVolumes
from moat_nb.runtimes.docker.runtime import Docker
from tests.conftest import Engine


@pytest.fixture
def volumes(engine: Engine) -> Iterator[EngineVolumes]:
    """The engine is left as it was."""
    before = engine.client.images.list(EMPTY_IMAGE)
    yield Docker("docker", {"DOCKER_HOST": engine.url}).volumes
    if not before:
        with contextlib.suppress(ImageNotFound):
            engine.client.images.remove(EMPTY_IMAGE)


@pytest.fixture
def name(engine: Engine) -> Iterator[str]:
    """A volume's, which is gone after the test with all containers that had it."""
    made = f"moat-test-{secrets.token_hex(4)}"
    yield made
    assert engine.client.api.containers(all=True, filters={"volume": made}) == []
    if made in [volume.name for volume in engine.client.volumes.list()]:
        engine.client.volumes.get(made).remove()


def packed(**files: bytes) -> bytes:
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w") as tar:
        top = tarfile.TarInfo("workspace")
        top.type, top.mode, top.uid = tarfile.DIRTYPE, 0o755, 4711
        tar.addfile(top)
        for path, content in files.items():
            member = tarfile.TarInfo(f"workspace/{path}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return found.getvalue()


def test_what_is_put_there_comes_back(volumes: EngineVolumes, name: str) -> None:
    assert volumes.token(name) is None
    volumes.make(name, "abc")
    assert volumes.token(name) == "abc"
    content = secrets.token_bytes(1 << 20)
    volumes.put(name, iter([packed(a=content, b=b"1")]))
    volumes.put(name, iter([packed(b=b"2")]))
    with volumes.get(name) as archive:
        found = io.BytesIO(b"".join(archive))
    with tarfile.open(fileobj=found) as tar:
        assert tar.getmember("workspace").uid == 4711
        read = {member.name: tar.extractfile(member) for member in tar if member.isreg()}
        texts = {path: file.read() for path, file in read.items() if file is not None}
    assert texts == {"workspace/a": content, "workspace/b": b"2"}
    volumes.remove(name)
    volumes.remove(name)
    assert volumes.token(name) is None


def test_what_somebody_else_made_is_not_ours(
    volumes: EngineVolumes, engine: Engine, name: str
) -> None:
    engine.client.volumes.create(name)
    assert volumes.token(name) is None


def test_one_that_a_container_has_is_in_use_while_it_runs(
    volumes: EngineVolumes, engine: Engine, name: str
) -> None:
    volumes.make(name, "abc")
    assert not volumes.in_use(name)
    container = engine.client.containers.run(
        engine.base_image,
        ["sleep", "1000"],
        detach=True,
        network_mode="none",
        volumes={name: {"bind": "/v", "mode": "rw"}},
    )
    try:
        assert volumes.in_use(name)
        with pytest.raises(StartError, match="volume is in use"):
            volumes.remove(name)
    finally:
        container.remove(force=True)
    assert not volumes.in_use(name)


def test_what_is_no_tar_is_told(volumes: EngineVolumes, name: str) -> None:
    volumes.make(name, "abc")
    with pytest.raises(StartError, match="docker at /"):
        volumes.put(name, iter([b"no tar" * 1000]))
