"""bubblewrap: rendered as whole output, refused where it must be, and run for real.

The real sandboxes are started twice: by root, for a workspace and an interpreter that the
sandbox's user cannot reach by himself, and by that ordinary user.
"""

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

import moat_nb
from moat_nb.config.model import Config
from moat_nb.config.reader import read_config
from moat_nb.errors import StartError
from moat_nb.host.cgroups import Place
from moat_nb.host.machine import Host, User
from moat_nb.host.reaper import Reaper
from moat_nb.planning.limits import MIB, Hardening, Limits
from moat_nb.planning.mounts import Bind, EmptyFile, MountPlan, Tmpfs, Volume, build
from moat_nb.planning.spec import ContainerSpec, SandboxSpec
from moat_nb.runtimes.base import UNLIMITED_FILES
from moat_nb.runtimes.bubblewrap import staging
from moat_nb.runtimes.bubblewrap.runtime import Bubblewrap
from tests.unit.runtimes.bubblewrap.specs import FACTS

ROOT = os.getuid() == 0
OWNER = User(1000, 1000) if ROOT else User(os.getuid(), os.getgid())
HOST = Host(
    user=User(1000, 1000),
    home=Path("/home/ada"),
    data_dir=Path("/home/ada/.local/share/moat-nb"),
    memory=8 << 30,
    executable="/tmp/venv/bin/python",
    prefixes=("/tmp/venv",),
)
SPEC = ContainerSpec(
    name="p",
    role="kernel",
    project="/home/ada/p",
    runtime="bubblewrap",
    image=None,
    command=("/tmp/venv/bin/python", "/run/moat/guest", "{}"),
    user=User(1000, 1000),
    env=(("HOME", "/home/moatuser"), ("PATH", "/usr/bin")),
    workdir="/workspace",
    mounts=MountPlan(
        mounts=build(
            [
                Bind(source="/home/ada/p", target="/workspace"),
                Bind(source="/data", target="/data", read_only=True),
                Tmpfs(target="/workspace/.venv", size=MIB),
                EmptyFile(target="/workspace/.env"),
                Tmpfs(target="/tmp", size=2 * MIB, role="tmp"),
                Bind(
                    source="/opt/python/lib",
                    target="/opt/python/lib",
                    read_only=True,
                    role="interpreter",
                ),
                Tmpfs(target="/home/moatuser", size=3 * MIB, role="home"),
            ]
        )
    ),
    limits=Limits(memory=1 << 30),
)


# ------------------------------------------------------------------------------- rendered

ARGUMENTS = """
--unshare-user --unshare-ipc --unshare-pid --unshare-net --unshare-uts --unshare-cgroup-try
--as-pid-1 --new-session --die-with-parent --cap-drop ALL --disable-userns --hostname sandbox
--seccomp <seccomp> --ro-bind /usr /usr --symlink usr/bin /bin
--perms 0644 --ro-bind-data <passwd> /etc/passwd --perms 0644 --ro-bind-data <group> /etc/group
--perms 0644 --ro-bind-data <hosts> /etc/hosts
--proc /proc --dev /dev --perms 1777 --size 67108864 --tmpfs /dev/shm --remount-ro /dev
--ro-bind /data /data --bind /home/ada/p /workspace --perms 1777 --size 2097152 --tmpfs /tmp
--perms 1777 --size 3145728 --tmpfs /home/moatuser
--ro-bind /site/moat_nb/runtimes/empty /workspace/.env
--perms 1777 --size 1048576 --tmpfs /workspace/.venv
--ro-bind /opt/python/lib /opt/python/lib --ro-bind /site/moat_nb/guest /run/moat/guest
--remount-ro / --clearenv --setenv HOME /home/moatuser --setenv PATH /usr/bin --chdir /workspace
""".split()  # noqa: SIM905 - read more easily as the line it is


def render(runtime, spec):
    (rendered,) = runtime.render(SandboxSpec(kernel=spec))
    return rendered


def test_a_spec_is_rendered_whole():
    rendered = render(Bubblewrap(HOST, FACTS), SPEC)
    assert rendered == {
        "argv": [
            *("/usr/bin/bwrap", "--args", "<arguments>", "--"),
            *("/usr/bin/prlimit", "--core=0:0", "--data=1073741824:1073741824"),
            *("--nofile=4096:4096", "--nproc=512:512", "--"),
            *("/tmp/venv/bin/python", "/run/moat/guest", "{}"),
        ],
        "arguments": ARGUMENTS,
        "files": {
            "passwd": "moat:x:1000:1000:moat:/home/moatuser:/bin/sh\n"
            "root:x:0:0:root:/nonexistent:/usr/sbin/nologin\n"
            "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
            "group": "moat:x:1000:\nroot:x:0:\nnogroup:x:65534:\n",
            "hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
        },
    }
    assert json.loads(json.dumps(rendered)) == rendered


def test_with_systemd_a_scope_stands_in_front_and_the_rlimits_are_only_the_ulimits():
    facts = replace(FACTS, limiter="systemd-run-user", limits_cpu=True)
    spec = replace(SPEC, limits=Limits(memory=1 << 30, pids=99, cpus=1.5))
    runtime = Bubblewrap(HOST, facts)
    argv = render(runtime, spec)["argv"]
    scope = "/usr/bin/systemd-run --user --scope --quiet --collect -p MemoryMax=1073741824 "
    scope += "-p MemorySwapMax=0 -p TasksMax=99 -p CPUQuota=150% -- /usr/bin/bwrap"
    assert argv[: len(scope.split())] == scope.split()
    assert [word for word in argv if word.startswith(("--data", "--nproc"))] == []
    assert "--nofile=4096:4096" in argv
    assert runtime.notices(spec) == (
        "limits: a systemd scope holds all processes to 1024 MiB and 99 tasks",
    )


def test_root_becomes_the_workspaces_owner_before_bubblewrap_runs():
    host = replace(HOST, user=User(0, 0))
    facts = replace(FACTS, limiter="systemd-run-system")
    argv = render(Bubblewrap(host, facts), SPEC)["argv"]
    assert argv[:4] == ["/usr/bin/systemd-run", "--scope", "--quiet", "--collect"]
    drop = "/usr/bin/setpriv --reuid 1000 --regid 1000 --clear-groups --no-new-privs --"
    start = argv.index("/usr/bin/setpriv")
    assert argv[start : start + 9] == [*drop.split(), "/usr/bin/bwrap"]


def test_with_a_cgroup_of_its_own_everything_starts_in_it():
    parents = (("cpu", "/c/cpu"), ("memory", "/c/memory/me"), ("pids", "/c/pids"))
    place = Place(version=1, parents=parents)
    runtime = Bubblewrap(HOST, replace(FACTS, limiter="cgroup", place=place, limits_cpu=True))
    argv = render(runtime, replace(SPEC, name="moat-p-3f9c01ab"))["argv"]
    words = "moat-join /c/cpu/moat-nb-3f9c01ab /c/memory/me/moat-nb-3f9c01ab"
    assert argv[:2] == ["sh", "-c"]
    assert argv[3:8] == [*words.split(), "/c/pids/moat-nb-3f9c01ab", "--"]
    assert argv[8] == "/usr/bin/bwrap"
    assert [word for word in argv if word.startswith(("--data", "--nproc"))] == []
    assert runtime.notices(SPEC) == (
        "limits: a cgroup holds all processes to 1024 MiB and 512 tasks",
    )


def test_a_cgroup_without_pids_leaves_their_number_to_the_rlimit():
    place = Place(version=1, parents=(("memory", "/c"),))
    runtime = Bubblewrap(HOST, replace(FACTS, limiter="cgroup", place=place))
    assert "--nproc=512:512" in render(runtime, SPEC)["argv"]


def test_where_nothing_limits_memory_the_notice_says_so():
    (notice,) = Bubblewrap(HOST, FACTS).notices(SPEC)
    assert notice.startswith("limits: memory is not limited, as there is no systemd")
    assert "1024 MiB of data are each process's own" in notice


def test_a_start_that_requires_limits_is_refused_where_nothing_limits_memory():
    config = read_config(
        b"name: p\nkernel:\n  require_limits: true", path=Path("/p/moat.yaml"), home=Path("/h")
    )
    spec = replace(SPEC, limits=Limits(memory=1 << 30, required=True))
    (problem,) = Bubblewrap(HOST, FACTS).check(spec, config)
    assert problem.where == "moat.yaml:3:3"
    assert "kernel.require_limits: memory cannot be limited here" in problem.words
    place = Place(version=1, parents=(("memory", "/c"),))
    assert Bubblewrap(HOST, replace(FACTS, limiter="cgroup", place=place)).check(spec, config) == ()


def test_the_number_of_files_is_a_remark_of_a_plan_and_no_start_says_it():
    runtime = Bubblewrap(HOST, FACTS)
    assert runtime.remarks(SPEC)[0] == UNLIMITED_FILES
    assert not set(runtime.remarks(SPEC)) & set(runtime.notices(SPEC))


def test_a_ulimit_may_be_tighter_than_the_sandboxs_limits_and_never_looser():
    limits = Limits(memory=1 << 30, ulimits=(("data", 5, -1), ("nproc", 9, 9999), ("stack", 1, -1)))
    argv = render(Bubblewrap(HOST, FACTS), replace(SPEC, limits=limits))["argv"]
    assert [word for word in argv if word.startswith("--") and "=" in word] == [
        "--data=5:1073741824",
        "--nproc=9:512",
        "--stack=1:unlimited",
    ]


def test_an_older_bubblewrap_is_not_asked_to_disable_user_namespaces():
    rendered = render(Bubblewrap(HOST, replace(FACTS, version=(0, 7, 0))), SPEC)
    assert rendered["arguments"] == [word for word in ARGUMENTS if word != "--disable-userns"]


def test_a_root_filesystem_that_may_be_written_is_left_writable():
    spec = replace(SPEC, hardening=Hardening(read_only_root=False))
    arguments = render(Bubblewrap(HOST, FACTS), spec)["arguments"]
    assert " --remount-ro / " not in f" {' '.join(arguments)} "


# -------------------------------------------------------------------------------- refused


CONFIG = Config(path=Path("/home/ada/p/moat.yaml"), name="p")
WRONG = """\
name: p
volumes: [{name: db, target: /db, type: volume}]
network: {policy: bridge}
kernel: {gpus: all}
"""


@pytest.mark.parametrize(
    "change, words",
    [
        ({"gpus": "all"}, "kernel.gpus all"),
        ({"network": "bridge"}, "network.policy bridge"),
        ({"user": User(0, 0)}, "the kernel's user is root"),
        ({"user": User(1001, 1001)}, "only root can start as another user; launch as 1001:1001"),
        ({"limits": Limits(memory=1 << 30, cpus=2)}, "container.cpus 2 cannot be honoured"),
        ({"hardening": Hardening(isolation="gvisor")}, "kernel.isolation gvisor"),
        ({"hardening": Hardening(cap_drop=())}, "capabilities and setuid programs"),
        ({"hardening": Hardening(no_new_privileges=False)}, "capabilities and setuid programs"),
        ({"env": (("A", "x\0--bind\0/\0/host"),)}, "holds a NUL character"),
        ({"env": (("A", "x" * ((128 << 10) - 2)),)}, "A has 131070 characters"),
        (
            {"limits": Limits(memory=1 << 30, ulimits=(("nofile", 16, 1 << 40),))},
            "container.ulimits nofile: hard 1099511627776 is above",
        ),
        (
            {"mounts": MountPlan(mounts=(Volume(name="cache", target="/cache"),))},
            "volume cache: there are no named volumes; use type bind, or docker",
        ),
    ],
)
def test_what_bubblewrap_cannot_honour_is_refused_and_never_dropped(change, words):
    (problem,) = Bubblewrap(HOST, FACTS).check(replace(SPEC, **change), CONFIG)
    assert problem.words.startswith("bubblewrap: ")
    assert words in problem.words
    assert not problem.supported


def test_the_longest_variable_and_the_launchers_own_limits_are_taken():
    own = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limits = Limits(memory=1 << 30, ulimits=(("nofile", own, own),))
    spec = replace(SPEC, env=(("A", "x" * ((128 << 10) - 3)),), limits=limits)
    assert Bubblewrap(HOST, FACTS).check(spec, CONFIG) == ()


def test_all_problems_are_told_at_once():
    config = read_config(WRONG.encode(), path=Path("/p/agent.yaml"), home=Path("/home/ada"))
    asked = replace(SPEC, gpus="all", network="bridge")
    volume = Volume(name="moat-p-db", target="/db")
    asked = replace(asked, mounts=asked.mounts.with_mounts(volume))
    problems = Bubblewrap(HOST, FACTS).check(asked, config)
    assert [problem.where for problem in problems] == [
        *("agent.yaml:4:10", "agent.yaml:3:1", "agent.yaml:2:11"),
    ]


# ------------------------------------------------------------------------------- for real


LAUNCHERS = ["root", "user"] if ROOT else ["user"]
DRIVER = """
import json, secrets, sys
from pathlib import Path
from moat_nb.config.model import Config
from moat_nb.host.machine import Host, User
from moat_nb.host.reaper import Reaper
from moat_nb.planning.interpreter import with_interpreter
from moat_nb.planning.mounts import Bind, EmptyFile, MountPlan, Tmpfs, build
from moat_nb.runtimes.bubblewrap.runtime import Bubblewrap
from moat_nb.planning.limits import Limits
from moat_nb.planning.spec import ContainerSpec, SandboxSpec

def make(asked):
    host = Host.current()
    workspace = asked["workspace"]
    mib = 1 << 20
    mounts = [
        Bind(source=workspace, target="/workspace"),
        Tmpfs(target="/workspace/node_modules", size=8 * mib),
        EmptyFile(target="/workspace/.env"),
        Tmpfs(target="/tmp", size=mib, role="tmp"),
        Tmpfs(target="/home/moatuser", size=mib, role="home"),
    ]
    config = Config(path=Path(workspace, "moat.yaml"), name="t")
    return Bubblewrap(host), ContainerSpec(
        name=f"moat-t-{secrets.token_hex(4)}", role="kernel", project=workspace,
        runtime="bubblewrap", image=None,
        command=(host.executable, "-c", asked["code"]),
        user=User(*asked["user"]),
        env=(("HOME", "/home/moatuser"), ("PATH", "/usr/bin:/bin"), *asked.get("env", {}).items()),
        workdir=asked.get("workdir", "/workspace"),
        mounts=with_interpreter(MountPlan(mounts=build(mounts)), config, host),
        limits=Limits(memory=asked.get("memory", 1024) * mib, pids=asked.get("pids", 64)),
    )

def run(asked):
    runtime, spec = make(asked)
    reaper = Reaper()
    attach_stream = runtime.start(SandboxSpec(kernel=spec), reaper).kernel
    out = b"".join(iter(attach_stream.receive, b""))
    words = attach_stream.last_words()
    attach_stream.close()
    reaper.finish()
    return {"out": out.decode(), "words": words, "notices": runtime.notices(spec)}
"""
exec(DRIVER)  # the same words here and in the helper process of an ordinary user
INSPECT = r"""
import errno, grp, json, os, pwd, resource, shutil, socket, subprocess

def outcome(act):
    try:
        act()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"

def write(path):
    return outcome(lambda: open(path, "w").write("x"))

status = dict(
    line.rstrip("\n").split(":\t", 1) for line in open("/proc/self/status")
)
exclude = os.stat("/workspace/node_modules")
options = {line.split()[1]: line.split()[2:4] for line in open("/proc/mounts")}
native = "/workspace/node_modules/true"
found = os.listdir("/workspace/node_modules")
print(json.dumps({
    "ids": [os.getuid(), os.getgid(), pwd.getpwuid(os.getuid()).pw_name,
            grp.getgrgid(os.getgid()).gr_name],
    "hostname": socket.gethostname(),
    "env": dict(os.environ),
    "status": {name: status[name] for name in ("CapEff", "CapBnd", "NoNewPrivs", "Seccomp")},
    "exclude": {
        "mode": oct(exclude.st_mode & 0o7777),
        "found": found,
        "mount": options["/workspace/node_modules"][0],
        "options": options["/workspace/node_modules"][1].split(",")[:3],
        "size": os.statvfs("/workspace/node_modules").f_blocks
        * os.statvfs("/workspace/node_modules").f_frsize,
        "copied": outcome(lambda: shutil.copy("/usr/bin/true", native)),
        "ran": subprocess.run([native]).returncode,
    },
    "env_file": [open("/workspace/.env").read(), write("/workspace/.env")],
    "writes": {path: write(path) for path in (
        "/x", "/dev/x", "/etc/x", "/usr/x", "/home/x", "/run/moat/guest/x",
        "/workspace/x", "/tmp/x", "/home/moatuser/x", "/dev/shm/x", "/dev/null",
    )},
    "seen": {path: os.path.exists(path) for path in (
        "/etc/shadow", "/sys", "/var/log", "/boot", "/etc/resolv.conf", "/etc/passwd",
    )},
    "passwd": len(open("/etc/passwd").readlines()),
    "interfaces": [line.split(":")[0].strip() for line in open("/proc/net/dev") if ":" in line],
    "routes": open("/proc/net/route").read().splitlines()[1:],
    "shm": os.statvfs("/dev/shm").f_blocks * os.statvfs("/dev/shm").f_frsize,
    "pids": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
    "files": sorted(
        os.readlink(f"/proc/self/fd/{fd}").split(":")[0]
        for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")
    ),
    "limits": {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))
               for name in ("DATA", "NPROC", "NOFILE", "CORE")},
    "loopback": outcome(lambda: socket.create_connection(("127.0.0.1", 1))),
}))
"""


class Launcher:
    """Starts sandboxes as root or as an ordinary user, each for a workspace of OWNER's."""

    def __init__(self, kind, directory):
        self.kind = kind
        self.workspace = directory / "workspace"
        self.source = Path(moat_nb.__file__).parent.parent
        if self.drops:
            # A checkout below /root, say, is as closed to an ordinary user.
            self.source = directory / "site"
            shutil.copytree(moat_nb.__path__[0], self.source / "moat_nb")
        self.workspace.mkdir()
        (self.workspace / ".env").write_text("SECRET=1")
        (self.workspace / "node_modules").mkdir(mode=0o755)
        (self.workspace / "node_modules/host.txt").write_text("the host's")
        if ROOT:
            # node_modules stays root:root 0755, which the sandbox's user cannot write to.
            os.chown(self.workspace, OWNER.uid, OWNER.gid)

    @property
    def drops(self):
        return ROOT and self.kind == "user"

    def process(self, tail, **asked):
        """A helper process that runs DRIVER and ``tail`` with ``asked``."""
        asked = {"workspace": str(self.workspace), "user": [OWNER.uid, OWNER.gid], **asked}
        drop = ["setpriv", "--reuid", str(OWNER.uid), "--regid", str(OWNER.gid), "--clear-groups"]
        # The tests' own interpreter may lie where an ordinary user cannot reach it.
        words = [*drop, "--", "/usr/bin/python3"] if self.drops else [sys.executable]
        return subprocess.Popen(
            [*words, "-c", f"{DRIVER}\nasked = json.loads(sys.argv[1])\n{tail}", json.dumps(asked)],
            env={
                "PYTHONPATH": str(self.source),
                "PYTHONDONTWRITEBYTECODE": "1",
                "HOME": "/nonexistent",
            },
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
        )

    def run(self, code, **asked):
        with self.process("print(json.dumps(run(asked)))", code=code, **asked) as process:
            out = process.stdout.read()
        return json.loads(out)


@pytest.fixture(scope="module", params=LAUNCHERS)
def launcher(request, tmp_path_factory):
    if request.param == "root":
        # Below a directory of mode 0700, as root's homes are: only staging can reach it.
        yield Launcher("root", tmp_path_factory.mktemp("root"))
        return
    directory = Path(tempfile.mkdtemp(prefix="moat-test-"))
    directory.chmod(0o755)
    yield Launcher("user", directory)
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def inside(launcher):
    """What a program saw from inside; every test below looks at a part of it."""
    done = launcher.run(INSPECT)
    assert done["words"] == "exit code 0"
    return json.loads(done["out"])


def test_an_exclude_is_an_empty_tmpfs_of_mode_1777_that_runs_native_programs(inside):
    assert inside["exclude"] == {
        "mode": "0o1777",
        "found": [],
        "mount": "tmpfs",
        "options": ["rw", "nosuid", "nodev"],
        "size": 8 * MIB,
        "copied": "done",
        "ran": 0,
    }


def test_the_hosts_copy_of_an_exclude_is_untouched(inside, launcher):
    directory = launcher.workspace / "node_modules"
    assert [path.name for path in directory.iterdir()] == ["host.txt"]
    assert (directory / "host.txt").read_text() == "the host's"
    assert (launcher.workspace / ".env").read_text() == "SECRET=1"


def test_an_excluded_file_is_empty_and_cannot_be_written(inside):
    assert inside["env_file"] == ["", "EROFS"]


def test_only_the_workspace_and_the_scratch_can_be_written(inside, launcher):
    unwritable = ("/x", "/dev/x", "/etc/x", "/usr/x", "/home/x", "/run/moat/guest/x")
    places = ("/workspace/x", "/tmp/x", "/home/moatuser/x", "/dev/shm/x", "/dev/null")
    assert inside["writes"] == {
        **dict.fromkeys(unwritable, "EROFS"),
        **dict.fromkeys(places, "done"),
    }
    status = (launcher.workspace / "x").stat()
    assert (status.st_uid, status.st_gid) == (OWNER.uid, OWNER.gid)


def test_the_user_is_the_owner_has_a_name_and_no_privileges(inside):
    assert inside["ids"] == [OWNER.uid, OWNER.gid, "moat", "moat"]
    nothing = "0000000000000000"
    assert inside["status"] == {
        "CapEff": nothing,
        "CapBnd": nothing,
        "NoNewPrivs": "1",
        "Seccomp": "2",
    }


def test_of_the_host_only_what_programs_need_is_seen(inside):
    assert inside["seen"] == {
        **dict.fromkeys(("/etc/shadow", "/sys", "/var/log", "/boot", "/etc/resolv.conf"), False),
        "/etc/passwd": True,
    }
    assert inside["passwd"] == 3
    assert inside["hostname"] == "sandbox"
    assert inside["pids"] == [1]


def test_there_is_loopback_and_no_other_network(inside):
    assert (inside["interfaces"], inside["routes"]) == (["lo"], [])
    assert inside["loopback"] == "ECONNREFUSED"


def test_the_environment_is_the_specs(inside):
    expected = {"HOME": "/home/moatuser", "PATH": "/usr/bin:/bin", "PWD": "/workspace"}
    assert inside["env"] in (expected, {**expected, "LC_CTYPE": "C.UTF-8"})  # Python's own


def test_no_descriptor_but_the_three_streams_is_inherited(inside):
    assert inside["files"] == ["pipe", "pipe", "pipe"]


def test_the_limits_are_in_force_and_the_notice_says_which(inside, launcher):
    limits = inside["limits"]
    assert (limits["NOFILE"], limits["CORE"]) == ([4096, 4096], [0, 0])
    assert inside["shm"] == 64 * MIB
    (notice,) = launcher.run("pass")["notices"]
    if "not limited" in notice:
        assert (limits["DATA"], limits["NPROC"]) == ([1024 * MIB] * 2, [64, 64])
    else:
        assert "holds all processes to" in notice
        assert limits["DATA"] == [resource.RLIM_INFINITY] * 2


def test_memory_ends_at_its_limit_and_not_before(launcher):
    code = (
        "import sys\ntry: len(bytearray({} << 20)); print('had')\nexcept MemoryError: print('no')"
    )
    assert launcher.run(code.format(100), memory=256)["out"] == "had\n"
    assert launcher.run(code.format(400), memory=256)["out"] in ("no\n", "")


def test_processes_end_at_their_limit_and_not_before(launcher):
    code = """
import os, time
count = 0
try:
    for _ in range(40):
        if os.fork() == 0:
            time.sleep(60)
        count += 1
except BlockingIOError:
    pass
print(count)
"""
    assert int(launcher.run(code, pids=64)["out"]) == 40
    assert 10 <= int(launcher.run(code, pids=20)["out"]) <= 20


def test_the_sandboxs_environment_reaches_no_program_outside_it(launcher):
    # The loader of each program that runs with these variables writes a file, or, inside, where
    # there is no such directory, to its stdout.
    trap = launcher.workspace.parent / "trap"
    trap.mkdir()
    trap.chmod(0o777)
    variables = {"LD_DEBUG": "libs", "LD_DEBUG_OUTPUT": f"{trap}/x"}
    done = launcher.run("print('ok')", env=variables)
    assert "ok\n" in done["out"]
    assert list(trap.iterdir()) == []
    subprocess.run(["/usr/bin/true"], env=variables, check=True)
    assert len(list(trap.iterdir())) == 1


def test_an_early_failure_is_the_end_of_the_stream_and_last_words(launcher):
    done = launcher.run("print('never')", workdir="/nowhere")
    assert done["out"] == ""
    assert done["words"].startswith("exit code 1: bwrap: Can't chdir to /nowhere")


def alive(marker):
    """Host pids of processes whose command line holds ``marker``, this one's helpers apart."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if any(word == marker.encode() for word in words):
            found.append(int(entry.name))
    return found


def until(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


BEGIN = """\
import time
runtime, spec = make(asked)
attach_stream = runtime.start(SandboxSpec(kernel=spec), Reaper()).kernel
"""


def test_a_killed_launcher_leaves_no_process_even_if_the_guest_does_not_heed_its_stdin(launcher):
    marker = f"print('up', flush=True)\nimport time; time.sleep(60)  # {launcher.kind}"
    tail = f"{BEGIN}print(attach_stream.receive().decode(), end='', flush=True); time.sleep(60)"
    with launcher.process(tail, code=marker) as helper:
        assert helper.stdout.readline() == "up\n"
        assert alive(marker)
        helper.send_signal(signal.SIGKILL)
    assert until(lambda: not alive(marker)), alive(marker)


@pytest.mark.parametrize("delay", [0, 0.002, 0.005, 0.01, 0.02, 0.04, 0.08])
def test_a_launcher_killed_while_the_sandbox_starts_leaves_no_process(launcher, delay):
    # Until bubblewrap has asked for its parent's death, only the guest's stdin tells of it.
    marker = f"import sys; sys.stdin.read()  # {launcher.kind} {delay}"
    tail = f"{BEGIN}print('begun', flush=True); time.sleep(60)"
    with launcher.process(tail, code=marker) as helper:
        assert helper.stdout.readline() == "begun\n"
        time.sleep(delay)
        helper.send_signal(signal.SIGKILL)
    assert until(lambda: not alive(marker)), alive(marker)


# ------------------------------------------------------------------- the attach stream, in-process


@pytest.fixture
def own(tmp_path):
    launcher = Launcher("root" if ROOT else "user", tmp_path)
    launcher.reaper = Reaper()
    yield launcher
    launcher.reaper.finish()


def begin(own, code):
    asked = {"workspace": str(own.workspace), "user": [OWNER.uid, OWNER.gid], "code": code}
    runtime, spec = make(asked)  # noqa: F821 - defined by DRIVER
    return runtime.start(SandboxSpec(kernel=spec), own.reaper).kernel


ECHO = "import sys\nfor line in sys.stdin: print(line.upper(), end='', flush=True)\nprint('bye')"


def test_bytes_go_both_ways_and_the_end_of_stdin_is_the_guests_to_answer(own, monkeypatch):
    monkeypatch.setattr("moat_nb.runtimes.pipes.GRACE_SECONDS", 60)
    attach_stream = begin(own, ECHO)
    attach_stream.send(b"hello\n")
    assert attach_stream.receive() == b"HELLO\n"
    assert attach_stream.last_words() == "still running"
    attach_stream.close()
    attach_stream.close()
    assert attach_stream.last_words() == "exit code 0"
    assert attach_stream.receive() == b""
    with pytest.raises(BrokenPipeError):
        attach_stream.send(b"more\n")


def test_a_sandbox_outlives_the_thread_that_started_it(own):
    started = []

    def start():
        attach_stream = begin(own, ECHO)
        # Only a sandbox that is up has asked to die with its parent.
        attach_stream.send(b"up\n")
        assert attach_stream.receive() == b"UP\n"
        started.append(attach_stream)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    (attach_stream,) = started
    time.sleep(0.3)
    attach_stream.send(b"still here\n")
    assert attach_stream.receive() == b"STILL HERE\n"
    attach_stream.close()


def test_a_guest_that_does_not_end_is_killed(own):
    attach_stream = begin(own, "print('up', flush=True)\nimport time\nwhile True: time.sleep(9)")
    assert attach_stream.receive() == b"up\n"
    attach_stream.close()
    assert attach_stream.last_words() == "killed by signal 9"


def test_a_close_frees_a_thread_that_receives_and_one_that_sends(own):
    attach_stream = begin(own, "import time; time.sleep(1000)")
    ends = []

    def receive():
        ends.append(attach_stream.receive())

    def send():
        try:
            attach_stream.send(b"x" * (1 << 20))
        except OSError as error:
            ends.append(error.errno)

    threads = [threading.Thread(target=act) for act in (receive, send)]
    for thread in threads:
        thread.start()
    assert until(lambda: attach_stream._sending.locked() and attach_stream._receiving.locked())
    attach_stream.close()
    for thread in threads:
        thread.join(30)
    assert sorted(ends, key=str) == [errno.EPIPE, b""]


def test_stderr_is_kept_to_its_tail(own):
    attach_stream = begin(own, "import sys\nsys.stderr.write('x' * 300_000 + 'the end')")
    assert attach_stream.receive() == b""
    words = attach_stream.last_words()
    assert words.endswith("xthe end")
    assert len(words) < 70_000
    attach_stream.close()


def test_a_missing_source_is_told_before_anything_starts(own):
    shutil.rmtree(own.workspace)
    with pytest.raises(StartError, match=r"workspace: bubblewrap cannot bind it .* No such file"):
        begin(own, "pass")


# ------------------------------------------------------------------------------- staging


needs_root = pytest.mark.skipif(not ROOT, reason="an ordinary user stages nothing")


@needs_root
def test_staging_shows_nothing_on_the_host_and_leaves_nothing(own):
    def mounts():
        """Those that staging could add to: an engine of other tests makes mounts of its own."""
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        places = ("/sys", str(own.workspace))
        return [line for line in lines if line.split()[4].startswith(places)]

    before = mounts()
    attach_stream = begin(own, ECHO)
    attach_stream.send(b"up\n")
    assert attach_stream.receive() == b"UP\n"
    during = mounts()
    attach_stream.close()
    assert during == before
    assert Path("/sys/kernel").is_dir()


@needs_root
def test_a_source_that_is_replaced_while_it_starts_is_not_bound(own):
    _, words = staging.stage([str(own.workspace)])
    own.workspace.rename(own.workspace.with_name("moved"))
    own.workspace.symlink_to("/etc")
    done = subprocess.run([*words, "echo", "bound"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "was replaced while the sandbox started" in done.stderr
