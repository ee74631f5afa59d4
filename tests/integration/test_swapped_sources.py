"""A bind's source that is swapped for a link once the plan is made, as a kernel of another sandbox
of the project may do while an image is pulled."""

import pytest

from moat_nb import ProofError
from moat_nb.runtimes.bubblewrap.runtime import Bubblewrap
from moat_nb.runtimes.docker.runtime import Docker

LOOK = "cat /srv/key; echo looked; sleep 1000"


@pytest.fixture
def swap(monkeypatch):
    """``swap(role, path, to)``: at the start of a container of that role a link to ``to`` stands at
    ``path``, and once an engine has started it, what stood there before."""

    def arm(role, path, to):
        aside = path.with_name("aside")

        def start(self, given, reaper, original):
            on_docker = isinstance(self, Docker)
            if role != (given["body"]["Labels"]["moat.nb.role"] if on_docker else "kernel"):
                return original(self, given, reaper)
            path.rename(aside)
            path.symlink_to(to)
            started = original(self, given, reaper)
            if on_docker:  # else it may not have been mounted yet
                path.unlink()
                aside.rename(path)
            return started

        for runtime, name in ((Docker, "_start"), (Bubblewrap, "start")):
            original = getattr(runtime, name)
            monkeypatch.setattr(
                runtime, name, lambda *given, original=original: start(*given, original)
            )

    return arm


@pytest.fixture
def with_outside():
    """A project with a directory, and one beside it that no mount names."""

    def make(launcher, **keys):
        project = launcher.project(**keys)
        data, outside = project / "data", project.parent / f"{project.name}-outside"
        for directory in (data, outside):
            directory.mkdir()
            (directory / "key").write_text(directory.name)
            for path in (directory, directory / "key"):
                launcher.give(path, launcher.owner)
        return project, data, outside

    return make


def test_a_mount_whose_source_is_swapped_for_a_link_fails_the_start(launcher, swap, with_outside):
    mounts = ["./data:/srv", "./data/key:/key:ro"]
    project, data, outside = with_outside(launcher, mounts=mounts)
    with launcher.launch(project) as box:
        assert box.run(["cat", "/srv/key", "/key"], check=True).stdout == b"datadata"
    swap("kernel", data, outside)
    with pytest.raises(ProofError, match=rf"{outside}.* is mounted at /(srv|key), where .*data"):
        launcher.launch(project)
    assert launcher.left(project) == []


def test_a_sidecars_mount_whose_source_is_swapped_for_a_link_fails_before_its_program_runs(
    on_docker, engine, swap, with_outside
):
    service = {
        "image": engine.base_image,
        "command": ["sh", "-c", LOOK],
        "mounts": ["./data:/srv"],
        "ready": {"log": "looked"},
    }
    project, data, outside = with_outside(on_docker, kernel={"services": {"other": service}})
    with on_docker.launch(project) as box:
        assert box.sidecars[0].last_lines() == "datalooked"
    swap("sidecar", data, outside)
    with pytest.raises(ProofError, match=rf"other .*{outside} is mounted at /srv") as caught:
        on_docker.launch(project)
    assert "looked" not in str(caught.value)
    assert on_docker.left(project) == []
