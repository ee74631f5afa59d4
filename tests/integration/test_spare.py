"""The spare kernel of a running sandbox: it is what a fresh kernel is, only sooner."""

import ast
import json
import os
import signal

import pytest

from moat_nb.jupyter.kernel_manager import Kernel
from tests.integration.conftest import UNCLOSED_LOOPS, wait_until

pytestmark = UNCLOSED_LOOPS

LOOK = """
import json, os, pathlib, sys
from IPython import get_ipython
from ipykernel.connect import get_connection_info
shell = get_ipython()
look = {
    "cwd": os.getcwd(),
    "dh": [str(path) for path in shell.user_ns["_dh"]],
    "starting": shell.starting_dir,
    "argv": [pathlib.Path(word).name.rstrip("0123456789") for word in sys.argv[:2]],
    "path": sys.path[0],
    "backend": os.environ["MPLBACKEND"],
    "env": sorted(set(os.environ) - {"KERNEL_NUMBER"}),
    "transport": get_connection_info(unpack=True)["transport"],
    "key": len(get_connection_info(unpack=True)["key"]),
    "count": shell.execution_count,
    "names": sorted(name for name in shell.user_ns if not name.startswith("_")),
    "last": repr(shell.user_ns["_"]),
    "nice": os.nice(0),
}
"""


def value(kernel, expression, code=""):
    reply = kernel.kc.execute(code, user_expressions={"x": expression}, reply=True, timeout=300)
    assert reply["content"]["status"] == "ok", reply["content"]
    found = reply["content"]["user_expressions"]["x"]
    assert found["status"] == "ok", found
    return ast.literal_eval(found["data"]["text/plain"])


def look(kernel):
    return json.loads(value(kernel, "json.dumps(look)", LOOK))


def pid(kernel):
    return value(kernel, "__import__('os').getpid()")


@pytest.fixture
def box(launcher):
    """A sandbox with one kernel, which makes no spare by itself."""
    project = launcher.project("lib", python=True, kernel={"spare": False})
    (project / "sub").mkdir()
    launcher.give(project / "sub", launcher.owner)
    return launcher.launch(project)


def make_spare(box):
    """Make one now, and wait until it listens; its pid."""
    link = box._running.guest
    link.spare_ready.clear()
    before = processes(box)
    box._running.make_spare_kernel(after=0)
    assert link.spare_ready.wait(30)
    (made,) = processes(box) - before
    return made


LEADERS = """
import os
stats = (open(f"/proc/{n}/stat").read().split() for n in filter(str.isdigit, os.listdir("/proc")))
print(*(stat[0] for stat in stats if stat[0] == stat[5] != str(os.getpid())))
"""


def processes(box):
    """The pids of the guest's children, each the leader of a session."""
    return {int(pid) for pid in box.run(["python3", "-c", LEADERS], check=True).stdout.split()}


def test_a_further_kernel_is_the_spare_and_is_what_a_fork_is(box):
    project = box.config.directory
    options = {"cwd": str(project / "sub"), "env": {**os.environ, "KERNEL_NUMBER": "2"}}
    with Kernel.start(box, **options) as forked:
        expected = look(forked)
        spare = make_spare(box)
        with Kernel.start(box, **options) as further:
            assert pid(further) == spare
            assert pid(further) != pid(forked)
            found = look(further)
            assert found == expected
            assert found["cwd"] == "/workspace/sub"


def test_a_restart_is_handed_the_spare_and_the_same_client_goes_on(box):
    with Kernel.start(box) as kernel:
        value(kernel, "x", "x = 1")
        spare = make_spare(box)
        kernel.restart_kernel(now=True)
        kernel.kc.wait_for_ready(timeout=300)
        assert pid(kernel) == spare
        reply = kernel.kc.execute("x", reply=True, timeout=300)
        assert reply["content"]["ename"] == "NameError"


def test_a_kernel_that_a_spare_became_is_interrupted_and_killed_as_any_other(box):
    with Kernel.start(box) as first:
        make_spare(box)
        with Kernel.start(box) as kernel:
            kernel.kc.execute("print(1, flush=True); import time; time.sleep(60)")
            while kernel.kc.get_iopub_msg(timeout=300)["msg_type"] != "stream":
                pass
            kernel.interrupt_kernel()
            reply = kernel.kc.get_shell_msg(timeout=300)
            assert reply["content"]["ename"] == "KeyboardInterrupt"
            process = kernel.provisioner._process
            process.signal(signal.SIGKILL)
            assert process.wait(60).code == -signal.SIGKILL
        assert value(first, "1") == 1


@pytest.mark.parametrize(
    "differs", ["argument", "early variable", "ipykernel's variable", "configuration"]
)
def test_a_kernel_that_must_be_made_otherwise_is_forked(box, differs):
    options = {}
    with Kernel.start(box) as first:
        spare = make_spare(box)
        if differs == "argument":
            options["extra_arguments"] = ["--IPKernelApp.quiet=False"]
        elif differs == "early variable":
            options["env"] = {**os.environ, "IPYTHONDIR": "/tmp/other"}
        elif differs == "ipykernel's variable":
            options["env"] = {**os.environ, "MPLBACKEND": "agg"}
        else:
            script = (
                "mkdir -p ~/.ipython/profile_default && "
                "echo 'c.InteractiveShellApp.exec_lines = [\"found = 42\"]' "
                "> ~/.ipython/profile_default/ipython_config.py"
            )
            box.run(["sh", "-c", script], check=True)
        with Kernel.start(box, **options) as kernel:
            assert pid(kernel) not in (spare, pid(first))
            if differs == "ipykernel's variable":
                assert value(kernel, "__import__('os').environ['MPLBACKEND']") == "agg"
            if differs == "configuration":
                assert value(kernel, "found") == 42


def test_startup_files_written_after_the_spare_was_made_are_run(box):
    with Kernel.start(box):
        spare = make_spare(box)
        script = "d=~/.ipython/profile_default/startup; mkdir -p $d; echo 'early = 7' > $d/00.py"
        box.run(["sh", "-c", script], check=True)
        with Kernel.start(box) as kernel:
            assert pid(kernel) == spare
            assert value(kernel, "early") == 7


def test_a_spare_that_was_killed_is_made_up_for_by_a_fork(box):
    with Kernel.start(box):
        spare = make_spare(box)
        box.run(["sh", "-c", f"kill -9 {spare}"], check=True)
        with Kernel.start(box) as kernel:
            assert pid(kernel) != spare


def test_each_kernel_draws_its_own_random_numbers(box):
    draw = "(__import__('random').random(), __import__('uuid').uuid4().hex)"
    with Kernel.start(box) as first:
        make_spare(box)
        with Kernel.start(box) as second:
            assert not set(value(first, draw)) & set(value(second, draw))


def test_a_running_sandbox_makes_the_next_spare_by_itself_unless_it_is_told_not_to(launcher):
    for keeps in (True, False):
        project = launcher.project(
            "lib", directory=f"keeps-{keeps}", python=True, kernel={"spare": keeps}
        )
        box = launcher.launch(project)
        with Kernel.start(box):
            assert box._running.guest.spare_ready.wait(60 if keeps else 3) is keeps


def test_a_package_of_the_users_is_seen_by_the_kernels_after_its_installation(launcher):
    box = launcher.launch(launcher.project("lib", python=True, kernel={"spare": False}))
    ask = "import site; print(site.ENABLE_USER_SITE and site.getusersitepackages() or '')"
    directory = box.run(["python3", "-c", ask], check=True).stdout.decode().strip()
    with Kernel.start(box):
        spare = make_spare(box)
        script = f"mkdir -p {directory} && echo 'x = 5' > {directory}/mine.py"
        box.run(["sh", "-c", script], check=True)
        with Kernel.start(box) as handed, Kernel.start(box) as forked:
            assert pid(handed) == spare
            assert [value(each, "__import__('mine').x") for each in (handed, forked)] == [5, 5]


def sockets_inside(box):
    return box.run(["ls", str(box.sockets)], check=True).stdout.split()


def test_a_spare_that_ended_leaves_none_of_its_sockets(box):
    with Kernel.start(box):
        spare = make_spare(box)
        assert len(sockets_inside(box)) == 10
        box.run(["sh", "-c", f"kill -9 {spare}"], check=True)
        assert wait_until(lambda: len(sockets_inside(box)) == 5)
