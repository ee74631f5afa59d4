"""What a student may try against the hub, the others and the machine, from a kernel or a page.

Each is tried at our hub and at a control: the same hub with JupyterHub's own spawner and server.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.hub.hub import Student


@dataclass(frozen=True, kw_only=True)
class Scene:
    eve: Student
    """The attacker."""
    bob: Student
    """Another student, with a running kernel."""
    kernel: str
    """Eve's."""
    bobs_kernel: str
    homes: str
    """The directory of all students' homes."""

    def cell(self, code: str) -> str:
        return self.eve.run(self.kernel, code).strip()


Attack = Callable[[Scene], str]

FETCH = """
import urllib.request, urllib.error
def fetch(url):
    try:
        request = urllib.request.Request(url)
        return urllib.request.build_opener(urllib.request.ProxyHandler({{}})).open(
            request, timeout=5).status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError as error:
        return "unreachable"
print(fetch({url!r}))
"""


# -------- from a kernel


IN_PROC = """
import glob
found = 'none'
for path in glob.glob('/proc/[0-9]*/{file}'):
    try:
        with open(path, 'rb') as file:
            if {words} in file.read():
                found = 'found'
    except OSError:
        pass
print(found)"""


def token_in_own_environment(scene: Scene) -> str:
    return scene.cell(
        "import os; print('found' if any('TOKEN' in name for name in os.environ) else 'none')"
    )


def token_in_proc(scene: Scene) -> str:
    """A kernel is the same user as its server, so nothing but the namespace keeps it out."""
    return scene.cell(IN_PROC.format(file="environ", words=b"JUPYTERHUB_API_TOKEN="))


def other_processes(scene: Scene) -> str:
    """Of the hub, whose command line names its configuration."""
    return scene.cell(IN_PROC.format(file="cmdline", words=b"jupyterhub_config"))


def hub_api_on_loopback(scene: Scene) -> str:
    return scene.cell(FETCH.format(url=f"http://127.0.0.1:{scene.eve.hub.api_port}/hub/api"))


def hub_proxy_on_loopback(scene: Scene) -> str:
    return scene.cell(FETCH.format(url=f"http://127.0.0.1:{scene.eve.hub.port}/hub/api"))


def read_anothers_home(scene: Scene) -> str:
    path = f"{scene.homes}/moatbob/work/answer.txt"
    return scene.cell(f"""
try:
    print(open({path!r}).read())
except OSError as error:
    print(type(error).__name__)""")


def read_own_home(scene: Scene) -> str:
    """Outside of the workspace: keys, mail."""
    path = f"{scene.homes}/moateve/private.txt"
    return scene.cell(f"""
try:
    print(open({path!r}).read())
except OSError as error:
    print(type(error).__name__)""")


def write_settings_for_the_next_start(scene: Scene) -> str:
    path = f"{scene.homes}/moateve/.jupyter"
    return scene.cell(f"""
import os
try:
    os.makedirs({path!r}, exist_ok=True)
    open({path!r} + '/from_a_kernel.py', 'w').close()
except OSError as error:
    print('refused')
else:
    print('written')""")


def raise_own_limit(scene: Scene) -> str:
    """By the files of the cgroups."""
    return scene.cell("""
import glob
print('seen' if glob.glob('/sys/fs/cgroup/*') else 'none')""")


# -------- from a page


def make_a_terminal(scene: Scene) -> str:
    return str(scene.eve("POST", "/api/terminals", {})[0])


def start_a_host_kernel(scene: Scene) -> str:
    return str(scene.eve("POST", "/api/kernels", {"name": "python3"})[0])


def list_host_kernels(scene: Scene) -> str:
    specs = scene.eve("GET", "/api/kernelspecs")[1]["kernelspecs"]
    return "python3" if "python3" in specs else "the course's alone"


def convert_on_the_host(scene: Scene) -> str:
    return str(scene.eve("GET", "/nbconvert/html/n.ipynb")[0])


def follow_a_link_to_another(scene: Scene) -> str:
    target = f"{scene.homes}/moatbob/work/answer.txt"
    scene.cell(f"import os; os.path.lexists('out') or os.symlink({target!r}, 'out')")
    status, model = scene.eve("GET", "/api/contents/out?content=1&type=file&format=text")
    return str(model["content"]) if status == 200 else "not there"


def end_the_server(scene: Scene) -> str:
    """A shutdown from the page; tried on a path that does not end it in the control either."""
    return str(scene.eve("GET", "/api/shutdown")[0])


def see_anothers_kernels(scene: Scene) -> str:
    return str(scene.eve("GET", "/api/kernels", of="moatbob")[0])


def end_anothers_kernel(scene: Scene) -> str:
    return str(scene.eve("DELETE", f"/api/kernels/{scene.bobs_kernel}", of="moatbob")[0])


def list_users_at_the_hub(scene: Scene) -> str:
    return str(scene.eve.hub.api("GET", "users", token=scene.eve.token)[0])


def stop_anothers_server(scene: Scene) -> str:
    hub = scene.eve.hub
    return str(hub.api("DELETE", "users/moatbob/server", token=scene.eve.token)[0])


CASES: dict[Attack, tuple[str, str]] = {
    token_in_own_environment: ("none", "found"),
    token_in_proc: ("none", "found"),
    other_processes: ("none", "found"),
    hub_api_on_loopback: ("unreachable", "200"),
    hub_proxy_on_loopback: ("unreachable", "200"),
    read_anothers_home: ("FileNotFoundError", "bob's answer"),
    read_own_home: ("FileNotFoundError", "eve's own"),
    write_settings_for_the_next_start: ("refused", "written"),
    raise_own_limit: ("none", "seen"),
    make_a_terminal: ("404", "200"),
    start_a_host_kernel: ("403", "201"),
    list_host_kernels: ("the course's alone", "python3"),
    convert_on_the_host: ("404", "200"),
    follow_a_link_to_another: ("not there", "bob's answer"),
    end_the_server: ("404", "405"),
    # The hub's own doing, in both.
    see_anothers_kernels: ("403", "403"),
    end_anothers_kernel: ("403", "403"),
    list_users_at_the_hub: ("403", "403"),
    stop_anothers_server: ("404", "404"),
}
"""What each says at our hub, and at the control."""
