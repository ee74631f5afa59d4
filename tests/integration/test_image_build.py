"""Images built on a real engine: what they contain, how they fail, and that nothing is left."""

from __future__ import annotations

import io
import os
import secrets
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from moat_nb.config.model import Config, Dependency, Hooks, KernelOptions
from moat_nb.errors import ImageError
from moat_nb.planning.image import PROJECT_LABEL, ImagePlan, image_plan
from moat_nb.planning.limits import MIB, Limits
from moat_nb.runtimes.base import BRIDGES
from moat_nb.runtimes.images import build, probe, wheels
from moat_nb.runtimes.images.ensure import ensure_image
from moat_nb.text.progress import Silent

if TYPE_CHECKING:
    from tests.conftest import Engine, Project

pytestmark = pytest.mark.engine

# Another language's kernel asks for no wheels, so tests of other things build in a moment.
NO_WHEELS = KernelOptions(argv=("ir",))

Plan = Callable[..., ImagePlan]


class Recorder(Silent):
    """A Progress that remembers; ``interrupt`` is a line of output at which Ctrl-C is pressed."""

    def __init__(self, interrupt: str | None = None) -> None:
        self.stages: list[str] = []
        self.updates: list[tuple[int, int]] = []
        self._interrupt = interrupt

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def update(self, done: int, total: int) -> None:
        self.updates.append((done, total))

    def log(self, line: str) -> None:
        if line.strip() == self._interrupt:
            raise KeyboardInterrupt


@pytest.fixture
def mark() -> str:
    """A label of this test's, which containers and images have from what they are made of: others
    use the engine too."""
    return f"moat-nb-test={secrets.token_hex(8)}"


@pytest.fixture
def marked(engine: Engine, mark: str) -> Iterator[Callable[[str], str]]:
    """``marked(image)``: the same with the label."""
    names = []

    def make(image: str) -> str:
        names.append(f"moat-nb-test/marked:{secrets.token_hex(8)}")
        text = io.BytesIO(f"FROM {image}\nLABEL {mark}\n".encode())
        list(engine.client.api.build(fileobj=text, tag=names[-1], rm=True))
        return names[-1]

    yield make
    for name in names:
        engine.client.api.remove_image(name, force=True)


@pytest.fixture
def plan(engine: Engine, marked: Callable[[str], str]) -> Iterator[Plan]:
    """Makes plans of one project of this test's own, whose images are removed afterwards."""
    name = f"test-image-{secrets.token_hex(4)}"

    def make(**fields: Any) -> ImagePlan:
        if "base_image" not in fields:
            fields["base_image"] = marked(engine.base_image)
        fields = {"kernel": NO_WHEELS, **fields}
        return image_plan(Config(path=Path("/srv/survey/moat.yaml"), name=name, **fields))

    yield make
    for image in engine.client.api.images(f"moat-nb/{name}"):
        for tag in image["RepoTags"]:
            engine.client.api.remove_image(tag)


@pytest.fixture
def traces(
    engine: Engine, mark: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], list[str]]:
    """This test's containers and untagged images, and directories of wheels."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def found() -> list[str]:
        containers = engine.client.api.containers(all=True, filters={"label": mark})
        images = engine.client.api.images(filters={"label": mark, "dangling": True})
        directories = tmp_path.glob("moat-nb-wheels-*")
        return [*(item["Id"] for item in (*containers, *images)), *map(str, directories)]

    return found


def run(engine: Engine, image: str, *argv: str) -> str:
    output = engine.client.containers.run(
        image, argv, entrypoint=[], network_mode="none", remove=True
    )
    return str(output.decode())


def import_empty(engine: Engine, name: str, label: str = "moat-nb-test=1") -> None:
    repository, _, version = name.rpartition(":")
    empty = io.BytesIO()
    tarfile.open(fileobj=empty, mode="w").close()
    engine.client.api.import_image_from_data(
        empty.getvalue(), repository=repository, tag=version, changes=[f"LABEL {label}"]
    )


def needs(kind: Any, name: str, version: str | None = None) -> Dependency:
    return Dependency(kind=kind, name=name, version=version, where="moat.yaml:3:5")


def test_pip_packages_and_ipykernel_are_there_and_import(
    engine: Engine,
    plan: Plan,
    marked: Callable[[str], str],
    traces: Callable[[], list[str]],
) -> None:
    seen = Recorder()
    # On the image with ipykernel, which the run's setup made on one without.
    six = needs("pip", "six", "==1.16.0")
    base = marked(engine.kernel_image)
    asked = plan(base_image=base, dependencies=(six,), kernel=KernelOptions())
    tag = ensure_image(asked, engine.client, seen)
    code = "import six, ipykernel; print(six.__version__, int(ipykernel.__version__[0]) >= 6)"
    assert run(engine, tag, "python3", "-c", code) == "1.16.0 True\n"
    assert [stage.split()[0] for stage in seen.stages] == ["fetching", "building"]
    assert seen.updates[0] == (0, seen.updates[0][1])
    assert traces() == []


def test_a_package_more_is_a_layer_on_what_is_there_and_old_images_go(
    engine: Engine, plan: Plan, marked: Callable[[str], str], traces: Callable[[], list[str]]
) -> None:
    base = marked(engine.kernel_image)

    def made(*names: str) -> str:
        wanted = tuple(needs("pip", name, "") for name in names)
        return ensure_image(plan(base_image=base, dependencies=wanted), engine.client, Silent())

    def layers(image: str) -> list[str]:
        return list(engine.client.api.inspect_image(image)["RootFS"]["Layers"])

    one = made("six")
    first = layers(one)
    two = made("iniconfig", "six")
    assert layers(two)[: len(first)] == first
    assert run(engine, two, "python3", "-c", "import six, iniconfig; print(1)") == "1\n"
    other = made("iniconfig")  # with less it is made from nothing
    assert layers(other)[: len(first)] != first
    there = {tag for image in engine.client.api.images() for tag in image["RepoTags"] or ()}
    assert there & {one, two, other} == {two, other}
    assert traces() == []


def test_an_image_that_is_there_is_found_and_not_built_again(engine: Engine, plan: Plan) -> None:
    asked = plan(hooks=Hooks(post_build="true"))
    first = ensure_image(asked, engine.client, Silent())
    seen = Recorder()
    assert ensure_image(asked, engine.client, seen) == first
    assert seen.stages == []


def test_a_base_image_with_ipykernel_that_suffices_gets_a_second_name_and_no_layer(
    engine: Engine, plan: Plan
) -> None:
    seen = Recorder()
    asked = plan(base_image=engine.kernel_image, kernel=KernelOptions())
    tag = ensure_image(asked, engine.client, seen)
    inspect = engine.client.api.inspect_image
    assert inspect(tag)["Id"] == inspect(engine.kernel_image)["Id"]
    assert seen.stages == []


def test_another_languages_kernel_with_no_wishes_runs_on_the_base_image_itself(
    engine: Engine, plan: Plan
) -> None:
    asked = plan(base_image=engine.base_image)
    assert ensure_image(asked, engine.client, Silent()) == engine.base_image


def test_a_base_image_that_changed_under_its_name_makes_another_image(
    engine: Engine, plan: Plan
) -> None:
    moving = f"moat-nb-test/moving:{secrets.token_hex(4)}"
    repository, _, version = moving.rpartition(":")
    asked = plan(base_image=moving, hooks=Hooks(post_build="true"))
    tags = set()
    try:
        for base in (engine.base_image, engine.kernel_image):
            engine.client.api.tag(base, repository, version)
            tags.add(ensure_image(asked, engine.client, Silent()))
    finally:
        engine.client.api.remove_image(moving)
    assert len(tags) == 2


def test_hooks_run_in_the_workspace_as_root_and_then_as_moatuser(
    engine: Engine, plan: Plan
) -> None:
    say = "echo $(id -un) $(pwd) $HOME\ncd /home/moatuser"
    hooks = Hooks(
        post_build_root=f"{say}\ntouch /opt/by-root", post_build=f"{say}\ntouch by-moatuser"
    )
    seen: list[str] = []
    progress = Recorder()
    progress.log = seen.append  # type: ignore[method-assign]
    tag = ensure_image(plan(hooks=hooks), engine.client, progress)
    assert seen == ["root /workspace /root", "moatuser /workspace /home/moatuser"]
    owners = run(engine, tag, "stat", "-c", "%u", "/opt/by-root", "/home/moatuser/by-moatuser")
    assert owners == "0\n5000\n"
    assert run(engine, tag, "id", "-u") == "5000\n"


def test_an_image_says_that_it_is_ours_and_which_projects(
    engine: Engine, plan: Plan, mark: str
) -> None:
    tag = ensure_image(plan(hooks=Hooks(post_build="true")), engine.client, Silent())
    labels = engine.client.api.inspect_image(tag)["Config"]["Labels"]
    name, value = mark.split("=")
    expected = {"moat.nb.image": "1", PROJECT_LABEL: "/srv/survey", name: value}
    assert labels.items() >= expected.items()


def test_a_failing_hook_shows_its_step_and_its_last_words_and_leaves_nothing(
    engine: Engine, plan: Plan, traces: Callable[[], list[str]]
) -> None:
    hooks = Hooks(post_build_root="true", post_build="seq 100 >&2\necho no compiler >&2\nexit 7")
    with pytest.raises(ImageError) as caught:
        ensure_image(plan(hooks=hooks), engine.client, Silent())
    first, *rest = str(caught.value).splitlines()
    assert "failed at step" in first
    assert first.endswith(r'RUN ["/bin/sh", "-ec", "seq 100 >&2\necho no compiler >&2\nexit 7"]')
    words, hint = rest[: wheels.TAIL_LINES], rest[-1]
    assert words == [*(str(number) for number in range(72, 101)), "no compiler"]
    assert rest[-2].endswith("returned a non-zero code: 7")
    assert "/srv/survey/moat.yaml" in hint
    assert traces() == []


def test_a_hook_cannot_have_another_image_removed_by_naming_it(engine: Engine, plan: Plan) -> None:
    name = f"moat-nb-test/bystander:{secrets.token_hex(4)}"
    import_empty(engine, name)
    try:
        bystander = engine.client.api.inspect_image(name)["Id"].removeprefix("sha256:")
        hooks = Hooks(post_build=f"echo ' ---> {bystander[:12]}'; exit 1")
        with pytest.raises(ImageError):
            ensure_image(plan(hooks=hooks), engine.client, Silent())
    finally:
        engine.client.api.remove_image(name)  # fails if it is gone


def test_wheels_that_cannot_be_fetched_show_pips_words_and_leave_nothing(
    engine: Engine, plan: Plan, traces: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ImageError, match="No matching distribution found") as caught:
        ensure_image(plan(kernel=KernelOptions()), engine.client, Silent())
    assert str(caught.value).endswith("The image is what /srv/survey/moat.yaml asks for")
    assert traces() == []


def test_ctrl_c_ends_a_build_and_leaves_nothing(
    engine: Engine, plan: Plan, traces: Callable[[], list[str]]
) -> None:
    asked = plan(hooks=Hooks(post_build_root="true", post_build="echo begun\nsleep 100"))
    with pytest.raises(KeyboardInterrupt):
        ensure_image(asked, engine.client, Recorder(interrupt="begun"))
    wait_for(lambda: traces() == [])


def test_a_killed_launcher_leaves_no_container_of_its_build(
    engine: Engine,
    mark: str,
    marked: Callable[[str], str],
    traces: Callable[[], list[str]],
) -> None:
    code = (
        "import sys, docker; from moat_nb.text import progress; "
        "from moat_nb.runtimes.images import build; "
        "build.build(build.BuildRequest(tag='moat-nb/test-killed:1', network_steps=('hook',), "
        "dockerfile='FROM ' + sys.argv[2] + '\\nLABEL moat.nb.image=1\\nRUN sleep 100\\n'), "
        "None, docker.DockerClient(base_url=sys.argv[1]), progress.Silent(), None)"
    )
    argv = [sys.executable, "-c", code, engine.url, marked(engine.base_image)]
    containers = partial(engine.client.api.containers, filters={"label": mark})
    with subprocess.Popen(argv) as launcher:
        try:
            wait_for(lambda: containers() != [])
        finally:
            launcher.send_signal(signal.SIGKILL)
    wait_for(lambda: containers(all=True) == [])
    # Only the launcher could have removed the layers; they are labelled for `moat-nb clean`.
    for image in traces():
        engine.client.api.remove_image(image)


def wait_for(done: Callable[[], bool], seconds: float = 300) -> None:
    give_up = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < give_up
        time.sleep(0.1)


def test_a_missing_base_image_says_what_the_engine_said_and_what_to_do(
    engine: Engine, plan: Plan, traces: Callable[[], list[str]]
) -> None:
    # A registry of this machine that does not run: nothing is asked of any other.
    name = "127.0.0.1:9/survey/base:1"
    with pytest.raises(ImageError) as caught:
        ensure_image(plan(base_image=name), engine.client, Silent())
    assert str(caught.value).startswith(f"{name} is not on this machine, and pulling it failed: ")
    assert "connection refused" in str(caught.value)
    assert "base_image in /srv/survey/moat.yaml" in str(caught.value)
    assert traces() == []


def test_a_base_image_without_python_is_named_before_anything_is_fetched(
    engine: Engine, plan: Plan, mark: str, traces: Callable[[], list[str]]
) -> None:
    name = f"moat-nb-test/empty:{secrets.token_hex(4)}"
    import_empty(engine, name, mark)
    seen = Recorder()
    try:
        with pytest.raises(ImageError, match=f"{name}: its python3 cannot be run: .*base_image"):
            ensure_image(plan(base_image=name, kernel=KernelOptions()), engine.client, seen)
        assert seen.stages == []
        assert traces() == []
    finally:
        engine.client.api.remove_image(name)


def test_the_probe_sees_the_images_own_interpreter(engine: Engine) -> None:
    said = run(
        engine, engine.base_image, "python3", "-c", "import sys; print(sys.version_info[:2])"
    )
    found = probe.probe(engine.client, engine.base_image)
    major, minor = found.python.split(".")
    assert f"({major}, {minor})\n" == said
    assert found.ipykernel is None
    assert probe.probe(engine.client, engine.kernel_image).ipykernel is not None


def made_from(engine: Engine, dockerfile: str) -> str:
    """An image of a stranger's; its name."""
    name = f"moat-nb-test/strange:{secrets.token_hex(4)}"
    text = io.BytesIO(f"FROM {engine.base_image}\n{dockerfile}\n".encode())
    list(engine.client.api.build(fileobj=text, tag=name, rm=True, network_mode="none"))
    return name


def test_a_base_images_own_commands_do_not_run_in_our_build(
    engine: Engine, plan: Plan, marked: Callable[[str], str], traces: Callable[[], list[str]]
) -> None:
    strange = made_from(engine, "ONBUILD RUN echo it ran")
    try:
        asked = plan(
            base_image=strange,
            hooks=Hooks(post_build="true"),
            where={"base_image": "moat.yaml:2:13"},
        )
        seen = Recorder()
        with pytest.raises(ImageError) as caught:
            ensure_image(asked, engine.client, seen)
        assert str(caught.value) == (
            f"moat.yaml:2:13: {strange} has commands of its maker that would run in our build "
            f"(ONBUILD RUN echo it ran); build an image from it yourself (`FROM {strange}`), and "
            "name that as base_image"
        )
        assert seen.stages == []
        own = marked(strange)  # built from it, which runs them
        ensure_image(plan(base_image=own, hooks=Hooks(post_build="true")), engine.client, Silent())
        # Nothing is built from it here, so nothing of it runs.
        assert ensure_image(plan(base_image=strange), engine.client, Silent()) == strange
    finally:
        engine.client.api.remove_image(strange, force=True)


def test_a_build_has_the_kernels_limits(engine: Engine) -> None:
    """Of CPUs too, which the SDK cannot ask for."""
    tag = f"moat-nb/test-limits:{secrets.token_hex(4)}"
    look = (
        "cd /sys/fs/cgroup; cat memory.max cpu.max memory/memory.limit_in_bytes "
        "cpu/cpu.cfs_quota_us 2>/dev/null > /limits; true"
    )
    request = build.BuildRequest(
        tag=tag,
        dockerfile=f"FROM {engine.base_image}\nRUN : {tag}; {look}\n",
        limits=Limits(memory=1536 * MIB, cpus=0.5),
    )
    build.build(request, None, engine.client, Silent(), None)
    try:
        assert run(engine, tag, "cat", "/limits").split()[:2] == [str(1536 * MIB), "50000"]
    finally:
        engine.client.api.remove_image(tag)
    assert "cpuquota" not in engine.client.api.params


def test_a_step_that_needs_more_memory_than_a_build_has_says_so(engine: Engine) -> None:
    eat = "python3 -c 'x = bytearray(1500 << 20)'"
    request = build.BuildRequest(
        tag="moat-nb/test-limits:too-much",
        dockerfile=f"FROM {engine.base_image}\nLABEL moat.nb.image=1\nRUN {eat}\n",
        limits=Limits(memory=100 * MIB),
    )
    with pytest.raises(ImageError, match=r"a build has 1 GiB of memory; container\.memory"):
        build.build(request, None, engine.client, Silent(), None)


FLOOD = "#!/bin/sh\\nexec yes AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\\n"
SLEEP = "#!/bin/sh\\nexec sleep 1000\\n"
HUNGRY = "#!/bin/sh\\nexec tail -n 1 /dev/zero\\n"
"""Each in the place of python3."""


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (FLOOD, "wrote more than 64 KiB, so it was ended"),
        (SLEEP, "did not answer within 2 s, so it was ended"),
        (HUNGRY, "does not say which wheels fit it"),
    ],
)
def test_a_python_that_is_none_takes_nothing_of_the_launchers(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, program: str, words: str
) -> None:
    strange = made_from(
        engine, f"RUN rm -f /usr/local/bin/python3; printf '{program}' > /usr/bin/python3"
    )
    if program == SLEEP:
        monkeypatch.setattr(probe, "_seconds", lambda: 2.0)
    names: list[str] = []
    before = psutil.Process().memory_info().rss
    try:
        with pytest.raises(ImageError, match=words):
            probe.probe(engine.client, strange, names.append)
    finally:
        engine.client.api.remove_image(strange, force=True)
    assert psutil.Process().memory_info().rss - before < 100 * MIB
    (name,) = names
    assert engine.client.api.containers(all=True, filters={"name": name}) == []


def test_a_launcher_that_is_killed_while_it_probes_leaves_no_container(engine: Engine) -> None:
    strange = made_from(
        engine, f"RUN rm -f /usr/local/bin/python3; printf '{SLEEP}' > /usr/bin/python3"
    )
    code = (
        "import sys, docker; from moat_nb.host.reaper import Reaper; from pathlib import Path; "
        "from moat_nb.config.model import Config; from moat_nb.planning.image import image_plan; "
        "from moat_nb.runtimes.images.ensure import ensure_image; "
        "from moat_nb.text.progress import Silent; "
        "config = Config(path=Path('/srv/x/moat.yaml'), name='x', base_image=sys.argv[2]); "
        "client = docker.DockerClient(base_url=sys.argv[1]); "
        "ensure_image(image_plan(config), client, Silent(), Reaper(), socket=sys.argv[1][7:])"
    )
    there = partial(engine.client.api.containers, filters={"ancestor": strange}, all=True)
    try:
        with subprocess.Popen([sys.executable, "-c", code, engine.url, strange]) as launcher:
            try:
                wait_for(lambda: there() != [])
            finally:
                launcher.send_signal(signal.SIGKILL)
        wait_for(lambda: there() == [])
    finally:
        engine.client.api.remove_image(strange, force=True)


def test_debians_tools_are_installed_with_network(engine: Engine, plan: Plan) -> None:
    seen = Recorder()
    asked = plan(dependencies=(needs("tool", "jq"), needs("tool", "fd", "10.2")))
    tag = ensure_image(asked, engine.client, seen)
    assert run(engine, tag, "jq", "-n", "1+1") == "2\n"
    # By its own name, which Debian's package has not.
    assert run(engine, tag, "fd", "--version").startswith(("fd", "fdfind"))
    # The tests' engine has no bridge, as it shall change nothing of the machine's.
    which = "the host's network, as the engine has none of its own"
    if BRIDGES & {network["Name"] for network in engine.client.api.networks()}:
        which = "network"
    assert seen.stages == [f"building {tag} with {which}, for apt (fd-find, jq)"]


@pytest.mark.parametrize(("network_steps", "alone"), [((), True), (("apt (jq)",), False)])
def test_a_build_has_a_network_only_if_a_step_needs_one(
    engine: Engine, network_steps: tuple[str, ...], alone: bool
) -> None:
    tag = f"moat-nb/test-network:{secrets.token_hex(4)}"
    request = build.BuildRequest(
        tag=tag,
        # Of its own, as the engine keeps what another build has made of the same words.
        dockerfile=f"FROM {engine.base_image}\nRUN : {tag}; ls /sys/class/net > /interfaces\n",
        network_steps=network_steps,
    )
    build.build(request, None, engine.client, Silent(), None)
    try:
        assert (run(engine, tag, "cat", "/interfaces").split() == ["lo"]) is alone
    finally:
        engine.client.api.remove_image(tag)


def test_node_comes_as_a_wheel_and_npm_installs_programs(engine: Engine, plan: Plan) -> None:
    node, semver = needs("tool", "node", "20"), needs("npm", "semver", "7")
    asked = plan(dependencies=(node, semver, needs("tool", "typescript", "5.4")))
    tag = ensure_image(asked, engine.client, Silent())
    assert run(engine, tag, "node", "--version").startswith("v20.")
    assert run(engine, tag, "semver", "--range", "^1", "1.2.3", "2.0.0") == "1.2.3\n"
    assert run(engine, tag, "tsc", "--version").startswith("Version 5.4.")


def test_an_install_in_a_terminal_builds_the_image_and_one_in_a_pipe_does_not(
    engine: Engine, project: Project, tmp_path: Path
) -> None:
    name = f"test-later-{secrets.token_hex(4)}"
    directory = project(
        f"name: {name}\nbase_image: {engine.base_image}\n"
        "kernel: {argv: [ir, '{connection_file}']}\nhooks: {post_build_root: 'true'}\n"
    )
    env = {**os.environ, "XDG_DATA_HOME": str(tmp_path)}
    allow = [sys.executable, "-m", "moat_nb", "allow", str(directory), "--yes"]
    subprocess.run(allow, env=env, check=True)
    install = [sys.executable, "-m", "moat_nb", "install", str(directory), "--runtime", "docker"]
    install += ["--prefix", str(tmp_path)]
    subprocess.run(install, env=env, check=True, capture_output=True)
    assert engine.client.api.images(f"moat-nb/{name}") == []
    ours, theirs = os.openpty()
    subprocess.run(install, env=env, check=True, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = os.read(ours, 1 << 16).decode()
    os.close(ours)
    (image,) = engine.client.api.images(f"moat-nb/{name}")
    assert image["RepoTags"][0] in said
    engine.client.api.remove_image(image["RepoTags"][0])
