"""Kernelspecs, installed and removed for real in a Jupyter data directory of the test's own."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from moat_nb.config.model import Config, KernelOptions
from moat_nb.jupyter import safe_python
from moat_nb.jupyter.kernelspec import LOGOS, kernel_json, language_of


@pytest.fixture
def data(tmp_path):
    return tmp_path / "jupyter"


@pytest.fixture
def project(tmp_path):
    directory = tmp_path / "project"
    directory.mkdir()
    (directory / "moat.yaml").write_text("name: Box\n")
    return directory


@pytest.fixture
def run(data, project):
    """``run(*words)``: a command line in the project, with the data directory as the user's."""
    env = {**os.environ, "JUPYTER_DATA_DIR": str(data), "DOCKER_HOST": "unix:///nonexistent"}

    def run(*words):
        return subprocess.run(
            [sys.executable, "-m", *words],
            env=env,
            cwd=project,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


def moat(run, *words):
    return run("moat_nb", *words)


def listed(run):
    """Kernels as Jupyter's own command lists them."""
    done = run("jupyter_client.kernelspecapp", "list", "--json")
    return json.loads(done.stdout)["kernelspecs"]


# ---------------------------------------------------------------- what it says


def config(*argv):
    return Config(path=Path("/p/moat.yaml"), name="box", kernel=KernelOptions(argv=argv))


def test_a_python_kernelspec_has_the_provisioner_and_a_shim():
    assert kernel_json(config(), runtime=None, executable="/venv/bin/python") == {
        "argv": [
            *(*safe_python.words("/venv/bin/python", "moat_nb"), "kernel"),
            *("--project", "/p", "-f", "{connection_file}"),
        ],
        "display_name": "Python 3 (moat: box)",
        "language": "python",
        "interrupt_mode": "signal",
        "metadata": {
            "debugger": True,
            "kernel_provisioner": {
                "provisioner_name": "moat",
                "config": {"project": "/p", "runtime": ""},
            },
        },
    }


def test_the_runtime_is_given_to_provisioner_and_shim_alike():
    words = kernel_json(config(), runtime="bubblewrap", executable="/python")
    assert words["metadata"]["kernel_provisioner"]["config"]["runtime"] == "bubblewrap"
    at = words["argv"].index("--runtime")
    assert words["argv"][at + 1] == "bubblewrap"


def test_a_kernel_of_another_language_is_named_so_and_has_no_debugger():
    words = kernel_json(config("julia", "{connection_file}"), runtime=None, executable="/python")
    assert words["display_name"] == "Julia (moat: box)"
    assert words["language"] == "julia"
    assert words["metadata"]["debugger"] is False


def test_what_moat_yaml_says_of_a_kernel_its_kernelspec_says():
    options = KernelOptions(
        argv=("xcpp20", "{connection_file}"),
        display_name="C++20",
        language="C++",
        interrupt_mode="message",
    )
    told = Config(path=Path("/p/moat.yaml"), name="box", kernel=options)
    words = kernel_json(told, runtime=None, executable="/python")
    assert [words[key] for key in ("display_name", "language", "interrupt_mode")] == [
        *("C++20", "C++", "message")
    ]
    words = kernel_json(told, runtime=None, executable="/python", trust_output=True)
    assert words["display_name"] == "C++20 (trusted output)"


@pytest.mark.parametrize(
    ("argv", "language"),
    [
        ((), "python"),
        (("python3", "-m", "ipykernel_launcher", "-f", "{connection_file}"), "python"),
        (("/usr/bin/python3.11", "-m", "ipykernel", "-f", "{connection_file}"), "python"),
        (("python", "my_kernel.py"), "python"),
        (("python3", "-m", "bash_kernel", "-f", "{connection_file}"), "bash"),
        (("python3", "-m", "octave_kernel.main"), "octave"),
        (("R", "--slave", "-e", "IRkernel::main()"), "R"),
        (("/usr/bin/julia-1.9",), "julia"),
        (("deno", "jupyter", "--kernel"), "deno"),
    ],
)
def test_the_language_is_told_from_the_kernels_command_line(argv, language):
    assert language_of(argv) == language


# ---------------------------------------------------------------- install


@pytest.mark.parametrize("size", [32, 64])
def test_a_logo_has_the_size_that_its_name_says(size):
    header = (LOGOS / f"logo-{size}x{size}.png").read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", header[16:]) == (size, size)


def test_jupyter_lists_an_installed_kernel_with_its_logos(run, data, project):
    done = moat(run, "install", "--runtime", "bubblewrap")
    assert (done.returncode, done.stderr) == (0, "")
    place = data / "kernels" / "moat-box"
    assert done.stdout == f"installed moat-box in {place}\n"
    assert sorted(path.name for path in place.iterdir()) == [
        *("kernel.json", "logo-32x32.png", "logo-64x64.png", "logo-svg.svg")
    ]
    spec = listed(run)["moat-box"]["spec"]
    assert spec["display_name"] == "Python 3 (moat: Box)"
    begin = [*safe_python.words(sys.executable, "moat_nb"), "kernel", "--project", str(project)]
    assert spec["argv"] == [*begin, "--runtime", "bubblewrap", "-f", "{connection_file}"]


@pytest.mark.parametrize(
    ("argv", "ours"),
    [
        (safe_python.words(sys.executable, "moat_nb"), True),
        (("python3", "-m", "moat_nb", "kernel"), True),
        (("moat_nb/bin/python", "-m", "ipykernel_launcher", "-f", "moat_nb"), False),
    ],
)
def test_the_shim_is_known_by_its_words(argv, ours):
    assert safe_python.runs(argv, "moat_nb") is ours


def test_installing_again_replaces_it(run, project):
    moat(run, "install", "--runtime", "docker")
    moat(run, "install", "--runtime", "bubblewrap")
    spec = listed(run)["moat-box"]["spec"]
    assert spec["metadata"]["kernel_provisioner"]["config"]["runtime"] == "bubblewrap"


def test_it_is_installed_below_a_prefix_under_a_name_of_ones_own(run, tmp_path):
    done = moat(run, "install", "--prefix", str(tmp_path / "env"), "--name", "mine")
    assert done.returncode == 0
    assert (tmp_path / "env/share/jupyter/kernels/mine/kernel.json").exists()


def test_a_name_that_jupyter_does_not_allow_is_refused(run, data):
    done = moat(run, "install", "--name", "a/b")
    assert done.returncode == 1
    assert done.stderr.startswith("moat-nb: --name: Invalid kernel name 'a/b'")
    assert not data.exists()


def test_a_wrong_file_installs_nothing(run, data, project):
    (project / "moat.yaml").write_text("mounts: [nowhere:/data]\n")
    done = moat(run, "install", "--runtime", "bubblewrap")
    assert done.returncode == 1
    assert "moat.yaml:1:10" in done.stderr
    assert not data.exists()


def test_another_projects_kernel_of_the_same_name_is_not_replaced(run, tmp_path, project):
    other = tmp_path / "other"
    other.mkdir()
    (other / "moat.yaml").write_text("name: Box\n")
    assert moat(run, "install", str(other)).returncode == 0
    done = moat(run, "install")
    assert done.returncode == 1
    assert done.stderr.startswith(f"moat-nb: moat-box: this is the kernel of {other}; give --name")
    assert moat(run, "install", "--name", "moat-box-2").returncode == 0


def foreign(data, name):
    place = data / "kernels" / name
    place.mkdir(parents=True)
    words = {"argv": ["true"], "display_name": "Other", "language": "other"}
    (place / "kernel.json").write_text(json.dumps(words))
    return place


def test_a_kernel_that_is_not_ours_is_neither_replaced_nor_removed(run, data):
    place = foreign(data, "moat-box")
    done = moat(run, "install")
    assert done.returncode == 1
    assert f"there is another kernel of this name at {place}" in done.stderr
    assert moat(run, "uninstall", "moat-box").returncode == 1
    assert (place / "kernel.json").exists()


# ---------------------------------------------------------------- uninstall


@pytest.mark.parametrize("words", [[], ["."], ["moat-box"], ["box"]])
def test_it_is_removed_by_its_project_or_by_its_name(run, data, words):
    moat(run, "install")
    done = moat(run, "uninstall", *words)
    assert done.stdout == f"removed {data / 'kernels' / 'moat-box'}\n"
    assert "moat-box" not in listed(run)


def test_all_kernels_of_a_project_are_removed_and_others_stay(run, data):
    moat(run, "install")
    moat(run, "install", "--name", "second")
    foreign(data, "other")
    assert len(moat(run, "uninstall").stdout.splitlines()) == 2
    assert "other" in listed(run)


def test_it_is_removed_when_the_file_has_become_wrong(run, project):
    moat(run, "install")
    (project / "moat.yaml").write_text("][")
    assert moat(run, "uninstall").returncode == 0


def test_removing_what_is_not_there_says_what_is(run):
    moat(run, "install")
    done = moat(run, "uninstall", "moat-bxo")
    assert done.returncode == 1
    assert done.stderr == (
        "moat-nb: moat-bxo: moat-nb installed no such kernel; there are: moat-box\n"
    )


# ---------------------------------------------------------------- doctor


def test_doctor_warns_of_a_kernel_whose_python_or_project_is_gone(run, data, project):
    moat(run, "install")
    moat(run, "install", "--name", "broken")
    file = data / "kernels" / "broken" / "kernel.json"
    words = json.loads(file.read_text())
    words["argv"][0] = "/gone/bin/python"
    file.write_text(json.dumps(words))

    def said():
        found = json.loads(moat(run, "doctor", "--json").stdout)
        return {f["subject"]: (f["verdict"], f["detail"]) for f in found}

    assert said()["moat-box"] == ("ok", f"Python 3 (moat: Box), for {project}")
    assert said()["broken"] == ("warn", "its Python is gone: /gone/bin/python")
    (project / "moat.yaml").unlink()
    assert said()["moat-box"] == ("warn", f"its project is gone: no moat.yaml in {project}")
