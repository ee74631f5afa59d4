"""Fetching a suite's source distribution, running it as an ordinary user, reading its report."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from moat_nb.host.machine import User
from moat_nb.host.run_directory import IMAGES
from tests import ordinary_user
from tests.conformance.moat_suite import LEFT_OUT
from tests.conformance.suites import Run, Suite
from tests.conftest import Engine
from tests.integration.test_jupyter import forget_provisioner

LIMIT_SECONDS = 600

BASH_ARGV = ["python3", "-m", "bash_kernel", "-f", "{connection_file}"]


@dataclass(frozen=True, kw_only=True)
class Report:
    passed: int
    failed: tuple[str, ...]
    left_out: dict[str, str]
    """``{part of a test's id: reason}`` of those that were met."""
    skipped: int
    """By the suite itself, on this machine or on all."""
    left_out_tests: int
    output: str
    seconds: float


@dataclass(kw_only=True)
class Workplace:
    """Where one suite runs: ``project`` is the workspace, and ``home`` lies outside it."""

    project: Path
    home: Path
    plugins: Path
    _process: subprocess.Popen[str] | None = None

    @classmethod
    def make(cls, project: Path, plugins: Path, owner: User) -> Workplace:
        home = project.parent / "home"
        for directory in (home, home / "run", home / "t"):
            directory.mkdir(mode=0o700)
            os.chown(directory, owner.uid, owner.gid)
        return cls(project=project, home=home, plugins=plugins)

    @property
    def env(self) -> dict[str, str]:
        """The launcher's whole environment. A directory for sockets of its own shows what stays
        behind."""
        given = {name: os.environ[name] for name in ("DOCKER_HOST",) if name in os.environ}
        return {
            **given,
            "HOME": str(self.home),
            "JUPYTER_PATH": str(self.home / "prefix/share/jupyter"),
            "LANG": "C.UTF-8",
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": str(self.home / "t"),
            "USER": "suite",
            # Suites set HOME for their tests; what was approved stays where it is.
            "XDG_DATA_HOME": str(self.home / "data"),
            "XDG_RUNTIME_DIR": str(self.home / "run"),
        }

    def prepare(self, run: Run, archive: Path) -> None:
        """Put the suite there, and the kernelspec that it is given."""
        words = ["tar", "--extract", "--strip-components=1", f"--file={archive}"]
        done = ordinary_user.run(words, env=self.env, cwd=self.project)
        assert done.returncode == 0, done.stderr
        for name, text in run.suite.files.items():
            (self.project / name).write_text(text)
        if run.kernel == "bash" and run.runtime == "bubblewrap":  # else the image has it
            packages = self.project / "packages"
            pip("install", "--no-deps", f"--target={packages}", "bash_kernel", "filetype")
        # The plugins are mounted from elsewhere.
        allowed = [*(sys.executable, "-m", "moat_nb", "allow", str(self.project), "--yes")]
        done = ordinary_user.run(allowed, env=self.env, cwd=self.project)
        assert done.returncode == 0, done.stderr
        if run.kernel != "provisioner":
            spec = self.install_kernel(run.runtime)
            if run.kernel == "shim":
                forget_provisioner(spec)

    def install_kernel(self, runtime: str) -> Path:
        """The kernelspec ``moat-NAME`` of the project; returns its kernel.json."""
        prefix = self.home / "prefix"
        words = [*(sys.executable, "-m", "moat_nb", "install", str(self.project))]
        words += [f"--prefix={prefix}", "--runtime", runtime]
        done = ordinary_user.run(words, env=self.env, cwd=self.project)
        assert done.returncode == 0, done.stderr
        (found,) = prefix.glob("share/jupyter/kernels/*/kernel.json")
        return found

    def run(self, run: Run) -> Report:
        """Run the suite, which stands in the project."""
        suite, report = run.suite, self.home / "report.xml"
        words = [
            # The suite must not outlive the test run, however that ends.
            *("setpriv", "--pdeathsig", "SIGKILL", "--"),
            *(sys.executable, "-m", "pytest", "-q", "--color=no", "--tb=short", "--no-header"),
            *("-p", "no:cacheprovider", "-p", "moat_suite", "-o", "log_cli=false"),
            *("--no-showlocals", "--durations=5", "--show-capture=stderr"),
            # Their own method ends the whole worker, and says nothing of where the test hung.
            *("--timeout=300", "--timeout-method=signal"),
            *(f"--basetemp={self.home / 'tmp'}", f"--junitxml={report}"),
            *(("-n", str(suite.workers)) if suite.workers else ()),
            *(*suite.options, *suite.paths),
        ]
        env = {
            **self.env,
            "PYTHONPATH": f"{Path(__file__).parent}:{self.plugins}",
            "MOAT_LEFT_OUT": json.dumps(suite.left_out),
            # Seconds that tornado gives an asynchronous test, 5 by default: two cores, many users.
            "ASYNC_TEST_TIMEOUT": "60",
        }
        if run.kernel == "provisioner":
            env["JUPYTER_DEFAULT_PROVISIONER_NAME"] = "moat"
        output = self._run(words, env)
        assert report.exists(), f"the suite did not run:\n{output}"
        return read(report, output)

    def _run(self, words: list[str], env: Mapping[str, str]) -> str:
        command, extra = ordinary_user.command(words)
        with subprocess.Popen(
            command,
            cwd=self.project,
            env={**env, **extra},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as self._process:
            try:
                return self._process.communicate(timeout=LIMIT_SECONDS)[0]
            finally:
                self.end()

    def end(self) -> None:
        """Kill the suite, and what a test's time limit left of its workers."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def left(self) -> list[str]:
        """What the sandboxes left of their directories, but for what all starts share."""
        return [str(p) for p in self.home.glob("run/moat-nb/*") if p.name != IMAGES]


def fetch(suite: Suite, directory: Path) -> Path:
    """The suite's source distribution from the package index, below ``directory``."""
    directory.mkdir(mode=0o755, exist_ok=True)
    pip(
        *("download", "--no-deps", "--no-binary", suite.package, "--dest", str(directory)),
        f"{suite.package}=={suite.version}",
    )
    (archive,) = directory.glob(f"{suite.package}-{suite.version}.tar.gz")
    return archive


def pip(*words: str) -> None:
    quiet = ("--quiet", "--disable-pip-version-check")
    argv = [sys.executable, "-m", "pip", *words, *quiet]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def moat_yaml(runtime: str, **keys: object) -> str:
    kernel = {"runtime": runtime, **keys.pop("kernel", {})}  # type: ignore[dict-item]
    text = {"name": "test-suite", "network": {"policy": "none"}, "kernel": kernel, **keys}
    return yaml.safe_dump(text)


def project_text(run: Run, plugins: Path, engine: Engine | None) -> str:
    """The moat.yaml of ``run``. The suites' own kernels are modules of ``plugins``."""
    bash = {"argv": BASH_ARGV} if run.kernel == "bash" else {}
    if run.runtime == "bubblewrap":
        paths = "/workspace/packages" if bash else "/plugins"
        keys: dict[str, object] = {"env": {**run.suite.env, "PYTHONPATH": paths}}
    else:
        assert engine is not None
        packages = {"packages": ["bash_kernel"]} if bash else {}
        bash = {**bash, **packages}
        keys = {"base_image": engine.base_image if bash else engine.kernel_image}
        keys["env"] = run.suite.env
    mounts = [{"source": ".", "target": "/workspace"}, f"{plugins}:/plugins:ro"]
    return moat_yaml(run.runtime, kernel=bash, mounts=mounts, **keys)


def read(path: Path, output: str) -> Report:
    """A JUnit report as pytest writes it, beside what it said."""
    (suite,) = ElementTree.parse(path).getroot()
    passed, skipped, left_out_tests = 0, 0, 0
    failed: list[str] = []
    left_out: dict[str, str] = {}
    for case in suite.iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        skip = case.find("skipped")
        message = "" if skip is None else skip.get("message", "")
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(name)
        elif message.startswith(LEFT_OUT):
            _, part, reason = message.splitlines()
            left_out[part] = reason
            left_out_tests += 1
        elif skip is not None:
            skipped += 1
        else:
            passed += 1
    return Report(
        passed=passed,
        failed=tuple(dict.fromkeys(failed)),
        left_out=left_out,
        skipped=skipped,
        left_out_tests=left_out_tests,
        output=output,
        seconds=float(suite.get("time", 0)),
    )
