"""Sidecars: real servers beside a kernel, in the network namespace of its sandbox."""

import contextlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from docker.errors import NotFound

from moat_nb import ConfigError, ImageError, ProofError, SandboxGone, StartError
from moat_nb.host.run_directory import IMAGES
from moat_nb.jupyter.kernel_manager import Kernel
from moat_nb.sandbox import sidecars
from moat_nb.sandbox.pool import POOL
from tests import ordinary_user
from tests.integration.conftest import wait_until
from tests.integration.engine_proxy import EngineProxy
from tests.integration.notebook import opened
from tests.integration.test_failed_starts import empty_image

REDIS = """
import os, socket
address = os.environ["MOAT_REDIS_HOST"], int(os.environ["MOAT_REDIS_PORT"])
with socket.create_connection(address) as s:
    s.sendall(f"AUTH {os.environ['MOAT_REDIS_PASSWORD']}\\r\\nSET a 1\\r\\nGET a\\r\\n".encode())
    print(s.makefile("rb").read(5 + 5 + 7))
"""


@pytest.fixture
def with_redis(on_docker, services):
    """A project with a Redis beside its kernel."""
    return on_docker.project(
        dependencies=["redis@7"], services={"redis": {"image": services.redis}}
    )


def containers(engine, project):
    """``{role or service: inspection}`` of the project's containers."""
    found = {}
    for container in engine.client.api.containers(
        all=True, filters={"label": f"moat.nb.project={project}"}
    ):
        labels = container["Labels"]
        service = labels.get("moat.nb.service", labels["moat.nb.role"])
        with contextlib.suppress(NotFound):  # it has ended since it was listed
            found[service] = engine.client.api.inspect_container(container["Id"])
    return found


def test_redis_answers_in_the_first_command_and_goes_with_the_sandbox(on_docker, with_redis):
    with on_docker.launch(with_redis) as box:
        assert (
            box.run(["python3", "-c", REDIS], check=True).stdout
            == b"b'+OK\\r\\n+OK\\r\\n$1\\r\\n1\\r\\n'\n"
        )
        found = containers(on_docker.engine, with_redis)
        assert set(found) == {"kernel", "redis"}
        assert dict(found["redis"]["Config"]["Labels"])["moat.nb.role"] == "sidecar"
        argv = [sys.executable, "-m", "moat_nb", "ps"]
        listed = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
        (row,) = [line for line in listed.splitlines() if line.startswith(box.id)]
        assert "  redis  " in row
        argv = [sys.executable, "-m", "moat_nb", "logs", box.id, "--service"]
        said = subprocess.run([*argv, "redis"], check=True, capture_output=True, text=True).stdout
        assert "Ready to accept connections" in said
        other = subprocess.run([*argv, "../log"], check=False, capture_output=True, text=True)
        assert "it has no service ../log; there are: redis" in other.stderr
    assert on_docker.left(with_redis) == []


def test_a_sidecar_is_named_in_etc_hosts_and_shares_the_sandboxes_network_alone(
    on_docker, with_redis
):
    with on_docker.launch(with_redis) as box:
        hosts = box.run(["cat", "/etc/hosts"], check=True).stdout.decode()
        assert "127.0.0.1\tredis\n" in hosts
        found = containers(on_docker.engine, with_redis)
        kernel, redis = found["kernel"], found["redis"]
        assert kernel["HostConfig"]["NetworkMode"] == "none"
        assert redis["HostConfig"]["NetworkMode"] == f"container:{kernel['Id']}"


@pytest.mark.parametrize("name", ["redis", "postgres", "mysql"])
def test_the_password_is_in_no_record_of_the_engines_and_in_no_repr_log_or_process_list(
    on_docker, services, engine, name
):
    image = {"image": getattr(services, name)}
    project = on_docker.project(dependencies=[name], services={name: image})
    with on_docker.launch(project) as box:
        found = box.run(["printenv", f"MOAT_{name.upper()}_PASSWORD"], check=True).stdout
        password = found.decode().strip()
        assert len(password) == 32
        assert password.isalnum()
        started = box._running
        assert started.run_dir.service_log(name).read_bytes()
        records = [
            json.dumps(containers(engine, project)),
            repr(started),
            repr(list(started.sidecars)),
            repr(box.spec),
            *(path.read_text() for path in started.run_dir.path.iterdir() if path.is_file()),
        ]
        for service in containers(engine, project).values():
            top = engine.client.api.top(service["Id"], ps_args="-eo pid,args")
            records.append(json.dumps(top))
        assert not [record for record in records if password in record]


def test_a_password_that_is_a_secret_is_the_services_and_in_no_record(on_docker, services, engine):
    value = "from-the-launchers-environment"
    redis = {"image": services.redis, "env": {"REDIS_PASSWORD": "env://MOAT_TEST_RPW"}}
    project = on_docker.project(dependencies=["redis"], services={"redis": redis})
    with pytest.raises(
        ConfigError, match=r":\d+:\d+: secret REDIS_PASSWORD \(env://MOAT_TEST_RPW\)"
    ):
        on_docker.launch(project)
    assert on_docker.left(project) == []
    asked = []
    environ = {**os.environ, "MOAT_TEST_RPW": value}
    options = {"environ": environ, "approve": lambda demands: asked.extend(demands) or True}
    with on_docker.launch(project, **options) as box:
        assert b"+OK" in box.run(["python3", "-c", REDIS], check=True).stdout
        found = box.run(["printenv", "MOAT_REDIS_PASSWORD"], check=True).stdout.decode().strip()
        assert found == value
        started = box._running
        records = [json.dumps(containers(engine, project)), repr(started), repr(box.spec)]
        records += [path.read_text() for path in started.run_dir.path.iterdir() if path.is_file()]
        assert not [record for record in records if value in record]


def test_a_sidecars_memory_is_its_own_and_without_swap(on_docker, services, engine):
    redis = {"image": services.redis, "memory": 192}
    project = on_docker.project(dependencies=["redis"], services={"redis": redis})
    with on_docker.launch(project):
        found = containers(engine, project)
        limits = found["redis"]["HostConfig"]
        assert (limits["Memory"], limits["MemorySwap"]) == (192 << 20, 192 << 20)
        assert found["kernel"]["HostConfig"]["Memory"] != 192 << 20


def test_a_sidecar_that_dies_is_reported_with_its_last_lines(on_docker, with_redis, engine):
    heard = []
    with on_docker.launch(
        with_redis, on_event=lambda kind, text: heard.append((kind, text))
    ) as box:
        box.run(["python3", "-c", REDIS], check=True)
        engine.client.api.kill(containers(engine, with_redis)["redis"]["Id"])
        assert wait_until(lambda: heard != [])
        ((kind, text),) = heard
        assert kind == "sidecar_ended"
        assert "redis" in text and "exited with 137" in text and "Ready to accept" in text
        assert box.run(["true"]).returncode == 0


def test_each_start_and_reset_has_a_new_password_and_fresh_data(on_docker, with_redis, engine):
    with on_docker.launch(with_redis) as box:
        first = box.run(["printenv", "MOAT_REDIS_PASSWORD"], check=True).stdout
        old = containers(engine, with_redis)["redis"]["Id"]
        assert b"+OK" in box.run(["python3", "-c", REDIS], check=True).stdout
        look = REDIS.replace("SET a 1\\r\\n", "").replace("5 + 5 + 7", "5 + 5")
        assert box.run(["python3", "-c", look], check=True).stdout == b"b'+OK\\r\\n$1\\r\\n1'\n"
        box.reset()
        assert box.run(["printenv", "MOAT_REDIS_PASSWORD"], check=True).stdout != first
        assert containers(engine, with_redis)["redis"]["Id"] != old
        assert box.run(["python3", "-c", look], check=True).stdout == b"b'+OK\\r\\n$-1\\r\\n'\n"


SERVE = "cat /srv/open; ls -A /srv/lib | wc -l; exec python3 -m http.server 8080 -d /srv"
FETCH = """
import os, urllib.request
port = os.environ["MOAT_OTHER_PORT"]
print(urllib.request.urlopen(f"http://other:{port}/open").read())
"""


def test_a_service_is_reached_by_name_sees_no_exclude_and_ends_with_the_sandbox(on_docker):
    serve_beside(on_docker)


def serve_beside(launcher):
    """The same on every engine of the matrix."""
    image = launcher.engine and launcher.engine.base_image
    words = ["sh", "-c", SERVE]
    service = own(image=image or "x", command=words, mounts=[".:/srv"], ports=[8080])
    project = launcher.project("lib", **service)
    (project / "lib").mkdir()
    (project / "lib" / "native").write_text("x")
    (project / "open").write_text("seen")
    for path in (project / "lib", project / "lib" / "native", project / "open"):
        launcher.give(path, launcher.owner)
    with launcher.launch(project) as box:
        assert box.run(["python3", "-c", FETCH], check=True).stdout == b"b'seen'\n"
        assert box.sidecars[0].last_lines().startswith("seen0")
    assert launcher.left(project) == []


AS_ANYONE = """
import sys, moat_nb
with moat_nb.Sandbox.launch(sys.argv[1], "docker") as box:
    sys.stdout.write(box.run(["python3", "-c", sys.argv[2]], check=True).stdout.decode())
"""


def test_an_ordinary_user_has_sidecars_too_that_run_as_their_images_own_user(on_docker, with_redis):
    runtime_directory = with_redis.parent / "run"
    runtime_directory.mkdir(mode=0o700)
    on_docker.give(runtime_directory, on_docker.owner)
    env = {"PATH": os.environ["PATH"], "HOME": str(with_redis.parent), "LANG": "C.UTF-8"}
    env |= {"DOCKER_HOST": on_docker.engine.url, "XDG_RUNTIME_DIR": str(runtime_directory)}
    argv = [sys.executable, "-c", AS_ANYONE, str(with_redis), REDIS]
    done = ordinary_user.run(argv, env=env)
    assert done.stdout == "b'+OK\\r\\n+OK\\r\\n$1\\r\\n1\\r\\n'\n", done.stderr
    left = {path.name for path in (runtime_directory / "moat-nb").iterdir()}
    assert left <= {IMAGES}  # what is known of images outlasts a sandbox


# ---------------------------------------------------------------- starts that fail


def own(**service):
    return {"kernel": {"services": {"other": service}}}


def test_an_image_that_is_nowhere_is_named_with_its_place_and_nothing_is_left(on_docker):
    image = "127.0.0.1:1/moat-nb-test/no-such-image:1"
    project = on_docker.project(dependencies=["redis"], services={"redis": {"image": image}})
    with pytest.raises(ImageError, match=r"moat\.yaml:\d+:\d+: redis: 127\.0\.0\.1:1/.*no-such"):
        on_docker.launch(project)
    assert on_docker.left(project) == []


def test_a_sidecar_that_dies_at_once_fails_the_start_with_its_code_and_last_lines(
    on_docker, engine
):
    words = ["sh", "-c", "echo it does not work >&2; exit 4"]
    project = on_docker.project(**own(image=engine.base_image, command=words, ports=[80]))
    with pytest.raises(StartError, match=r"other .* ended before it was ready") as caught:
        on_docker.launch(project)
    assert "exited with 4" in str(caught.value)
    assert "it does not work" in str(caught.value)
    assert on_docker.left(project) == []


def test_a_sidecar_that_is_not_waited_for_may_die_and_is_reported(on_docker, engine):
    words = ["sh", "-c", "echo so long; exit 4"]
    project = on_docker.project(
        **own(image=engine.base_image, command=words, ports=[80], wait=False)
    )
    heard = []
    with on_docker.launch(project, on_event=lambda kind, text: heard.append((kind, text))) as box:
        assert wait_until(lambda: heard != [])
        assert box.run(["true"]).returncode == 0
        ((kind, text),) = heard
        assert kind == "sidecar_ended"
        assert "exited with 4" in text and "so long" in text


def test_a_sidecar_that_is_never_ready_fails_the_start_with_what_was_waited_for(on_docker, engine):
    words = ["sh", "-c", "echo still thinking; sleep 1000"]
    ready = {"port": 81, "timeout": 5}
    project = on_docker.project(**own(image=engine.base_image, command=words, ready=ready))
    with pytest.raises(StartError) as caught:
        on_docker.launch(project)
    assert "was not ready in 5 s: something listens at 127.0.0.1:81" in str(caught.value)
    assert "still thinking" in str(caught.value)
    assert on_docker.left(project) == []


def test_one_sidecar_that_fails_ends_the_others_that_were_starting(on_docker, services, engine):
    project = on_docker.project(
        dependencies=["redis"],
        services={"redis": {"image": services.redis}},
        **own(image=engine.base_image, command=["false"], ports=[80]),
    )
    with pytest.raises(StartError, match="other"):
        on_docker.launch(project)
    assert on_docker.left(project) == []


def test_an_image_without_a_shell_is_named_in_the_error(on_docker):
    with empty_image(on_docker.engine) as image:
        project = on_docker.project(**own(image=image, command=["x"]))
        with pytest.raises(StartError, match="/bin/sh"):
            on_docker.launch(project)
        assert on_docker.left(project) == []


@pytest.mark.parametrize(
    "ready", [{"port": 8080}, {"log": "it serves"}, {"command": ["test", "-e", "/tmp/up"]}]
)
def test_each_kind_of_readiness_is_waited_for(on_docker, engine, ready, monkeypatch):
    """The service becomes ready only once a look has found that it is not."""
    serve = "touch /tmp/up; echo it serves; exec python3 -m http.server 8080"
    words = ["sh", "-c", f"until [ -e /srv/go ]; do sleep 0.05; done; {serve}"]
    service = {"command": words, "ports": [8080], "ready": ready, "mounts": [".:/srv:ro"]}
    project = on_docker.project(**own(image=engine.base_image, **service))
    answers = []
    check = sidecars._check

    @contextlib.contextmanager
    def observed(*given):
        with check(*given) as is_ready:

            def look():
                answers.append(is_ready())
                if not answers[-1]:
                    (project / "go").touch()
                return answers[-1]

            yield look

    monkeypatch.setattr(sidecars, "_check", observed)
    with on_docker.launch(project) as box:
        assert (answers[0], answers[-1]) == (False, True)
        assert box.run(["printenv", "MOAT_OTHER_PORT"], check=True).stdout == b"8080\n"
        assert box.sidecars[0].gone is None


def test_sidecars_start_in_parallel(on_docker, engine):
    """Each becomes ready only once the other runs."""

    def meeting(me, other):
        words = f"touch /meet/{me}; until [ -e /meet/{other} ]; do sleep 0.05; done; echo met"
        return {
            "image": engine.base_image,
            "command": ["sh", "-c", f"{words}; sleep 1000"],
            "mounts": ["./meet:/meet"],
            "ready": {"log": "met", "timeout": 60},
        }

    both = {"one": meeting("one", "two"), "two": meeting("two", "one")}
    project = on_docker.project(kernel={"services": both})
    (project / "meet").mkdir()
    on_docker.give(project / "meet", on_docker.owner)
    with on_docker.launch(project) as box:
        assert [one.last_lines() for one in box.sidecars] == ["met", "met"]


# ---------------------------------------------------------------- what one sees


@pytest.fixture
def with_files(on_docker, engine):
    """A sidecar that mounts the workspace, of which the kernel does not see all."""

    def make(command, **service):
        project = on_docker.project(
            ".env",
            "secrets",
            **own(image=engine.base_image, command=command, mounts=[".:/srv"], **service),
        )
        (project / ".env").write_text("hunter2")
        (project / "secrets").mkdir()
        (project / "secrets" / "key").write_text("hunter2")
        (project / "open").write_text("seen")
        return project

    return make


LOOK = "cat /srv/open; ls -A /srv/secrets | wc -l; wc -c </srv/.env; id -u; echo looked; sleep 1000"


def test_a_sidecar_sees_its_mounts_and_nothing_that_an_exclude_hides(on_docker, with_files):
    project = with_files(["sh", "-c", LOOK], ready={"log": "looked"})
    with on_docker.launch(project) as box:
        lines = box.sidecars[0].last_lines().splitlines()
        assert lines == ["seen0", "0", str(box.spec.user.uid), "looked"]
    assert (project / "secrets" / "key").read_text() == "hunter2"


def test_a_cover_that_the_engine_drops_fails_the_start_before_the_sidecar_runs(
    on_docker, with_files
):
    project = with_files(["sh", "-c", LOOK], ready={"log": "looked"})
    drop = (b'"/srv/secrets"', b'"/srv/secretz"')
    with EngineProxy(on_docker.engine.url, replace=drop) as proxy:
        environ = {**os.environ, "DOCKER_HOST": proxy.url}
        with pytest.raises((ProofError, StartError), match="secre") as caught:
            on_docker.launch(project, environ=environ)
    assert "looked" not in str(caught.value)
    assert (project / "secrets" / "key").read_text() == "hunter2"
    (project / "secretz").is_dir() and (project / "secretz").rmdir()


def test_a_sidecar_cannot_write_its_root_nor_gain_rights_nor_reach_beyond_loopback(
    on_docker, engine
):
    look = (
        "touch /x || echo read-only; grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status; "
        "cat /proc/net/dev | tail -n +3 | cut -d: -f1; echo looked; sleep 1000"
    )
    words = ["sh", "-c", look]
    project = on_docker.project(
        **own(image=engine.base_image, command=words, ready={"log": "looked"})
    )
    with on_docker.launch(project) as box:
        said = box.sidecars[0].last_lines()
    assert "read-only" in said.splitlines()
    assert "CapEff:    0000000000000000" in said
    assert "CapBnd:    0000000000000000" in said
    assert "NoNewPrivs:    1" in said
    assert [line.strip() for line in said.splitlines() if "looked" not in line][-1] == "lo"


def test_what_a_sidecar_prints_cannot_steer_the_terminal_that_shows_it(on_docker, engine):
    flood = "yes '\033]0;title\007\033[2J\033[9999;1Hx' | head -c 3000000; printf done; exit 3"
    project = on_docker.project(
        **own(image=engine.base_image, command=["sh", "-c", flood], ports=[80])
    )
    with pytest.raises(StartError) as caught:
        on_docker.launch(project)
    assert "\033]0;" not in str(caught.value)
    assert len(str(caught.value)) < 20_000


# ---------------------------------------------------------------- life and death


def test_a_launcher_killed_with_its_reaper_leaves_no_sidecar(on_docker, with_redis):
    argv = [sys.executable, "-c", HOLD, with_redis]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        directory, reaper = process.stdout.readline().split()
        os.kill(int(reaper), 9)
        process.kill()
    # The containers end by themselves. Only the directory stays, until somebody starts a sandbox.
    only = {f"directory {directory}"}
    assert wait_until(lambda: {*on_docker.left(with_redis, seconds=0)} <= only)
    on_docker.launch(on_docker.project()).stop()


HOLD = """
import sys, moat_nb
box = moat_nb.Sandbox.launch(sys.argv[1], "docker")
print(box.sockets.parent, box._running.reaper._process.pid, flush=True)
sys.stdin.read()
"""


def test_the_sidecars_of_a_sandbox_that_dies_die_with_it(on_docker, with_redis, engine):
    box = on_docker.launch(with_redis)
    engine.client.api.kill(containers(engine, with_redis)["kernel"]["Id"])
    assert wait_until(lambda: containers(engine, with_redis) == {})
    assert box.gone is not None


def test_a_sandbox_that_dies_while_its_sidecars_start_fails_the_start(on_docker, engine):
    project = on_docker.project(
        **own(image=engine.base_image, command=["sleep", "1000"], ready={"log": "never"})
    )
    with ThreadPoolExecutor(1) as pool:
        launched = pool.submit(on_docker.launch, project)
        assert wait_until(lambda: set(containers(engine, project)) == {"kernel", "other"}, 60)
        engine.client.api.kill(containers(engine, project)["kernel"]["Id"])
        with pytest.raises((StartError, SandboxGone)):
            launched.result()
    assert on_docker.left(project) == []


def test_status_shows_a_sidecar_and_its_last_lines_when_it_died(on_docker, services, engine):
    project = on_docker.project(
        python=True, dependencies=["redis"], services={"redis": {"image": services.redis}}
    )
    with opened(project) as notebook:
        notebook.good("%moat run --runtime docker")
        assert "Ready to accept" not in notebook.good("%moat status").stdout
        engine.client.api.kill(containers(engine, project)["redis"]["Id"])
        assert wait_until(
            lambda: "Ready to accept connections" in notebook.good("%moat status").stdout
        )
        notebook.good("%moat restart")
        assert set(containers(engine, project)) == {"kernel"}
        notebook.good("%moat reset")
        assert set(containers(engine, project)) == {"kernel", "redis"}


def test_a_kernels_restart_leaves_the_sidecars_alone(on_docker, services, engine):
    project = on_docker.project(
        python=True, dependencies=["redis"], services={"redis": {"image": services.redis}}
    )
    with on_docker.launch(project) as box:
        before = containers(engine, project)["redis"]["State"]["StartedAt"]
        for _ in range(2):
            with Kernel.start(box) as kernel:
                reply = kernel.kc.execute(REDIS, reply=True, timeout=300)
                assert reply["content"]["status"] == "ok"
        assert containers(engine, project)["redis"]["State"]["StartedAt"] == before


UNTIL_TOLD = """
import pathlib, time
pathlib.Path("/workspace/runs").touch()
while not pathlib.Path("/workspace/told").exists():
    time.sleep(0.1)
time.sleep(5)
"""


def test_a_cell_that_runs_while_a_sidecar_dies_shows_it(on_docker, services, engine):
    project = on_docker.project(
        python=True, dependencies=["redis"], services={"redis": {"image": services.redis}}
    )

    def hear(kind, text):
        if kind == "sidecar_ended":
            (project / "told").touch()

    shown = []
    with on_docker.launch(project, on_event=hear) as box, Kernel.start(box) as kernel:

        def kill():
            assert wait_until((project / "runs").exists, 60)
            engine.client.api.kill(f"moat-test-box-redis-{box.id}")

        with ThreadPoolExecutor(1) as pool:
            killed = pool.submit(kill)
            kernel.kc.execute_interactive(
                UNTIL_TOLD,
                timeout=300,
                output_hook=lambda message: shown.append(message["content"]),
            )
            killed.result()
    text = "".join(content.get("text", "") for content in shown)
    assert "moat: " in text
    assert "redis" in text and "exited with 137" in text and "Ready to accept" in text


# ---------------------------------------------------------------- spares


@pytest.mark.timeout(900)
@pytest.mark.parametrize("alive", [True, False])
def test_a_spare_is_handed_out_with_its_own_sidecars_and_dropped_when_one_died(
    on_docker, services, engine, alive
):
    project = on_docker.project(
        python=True,
        dependencies=["redis"],
        services={"redis": {"image": services.redis}},
        kernel={"pool": 1},
    )
    try:
        with on_docker.launch(project) as box, Kernel.start(box):
            assert wait_until(lambda: len(POOL.spares) == 1 and not POOL._filling, 150)
        (spare,) = POOL.spares
        if not alive:
            engine.client.api.kill(f"moat-test-box-redis-{spare.run_dir.id}")
            assert wait_until(lambda: next(iter(spare.sidecars)).gone is not None)
        box = on_docker.launch(project)
        assert (box.id == spare.run_dir.id) == alive
        with Kernel.start(box) as kernel:
            reply = kernel.kc.execute(REDIS, reply=True, timeout=300)
            assert reply["content"]["status"] == "ok"
    finally:
        assert wait_until(lambda: not POOL._filling, 150)
        POOL.clear()


@pytest.mark.timeout(900)
def test_a_spare_whose_service_would_see_what_is_excluded_by_now_is_dropped(on_docker, engine):
    mounts = [{"source": ".", "target": "/srv", "exclude": ["hidden"]}]
    service = own(image=engine.base_image, command=["sleep", "1000"], mounts=mounts)
    service["kernel"]["pool"] = 1
    project = on_docker.project(python=True, **service)
    (project / "hidden").mkdir()
    try:
        with on_docker.launch(project) as box, Kernel.start(box):
            assert wait_until(lambda: len(POOL.spares) == 1 and not POOL._filling, 150)
        (spare,) = POOL.spares
        (project / "hidden").rename(project / "was-hidden")
        (project / "hidden").mkdir()
        assert on_docker.launch(project).id != spare.run_dir.id
    finally:
        assert wait_until(lambda: not POOL._filling, 150)
        POOL.clear()
