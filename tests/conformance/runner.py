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

from moat_nb.host import User
from tests import ordinary_user
from tests.conformance.moat_suite import LEFT_OUT
from tests.conformance.suites import Suite

LIMIT_SECONDS = 400


@dataclass(frozen=True, kw_only=True)
class Report:
    passed: int
    failed: tuple[str, ...]
    left_out: dict[str, str]
    """``{part of a test's id: reason}`` of those that were met."""
    skipped: int
    """By the suite itself, on this machine or on all."""
    left_out_tests: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """Where one suite runs: ``project`` is the workspace, and ``home`` lies outside it."""

    project: Path
    home: Path
    plugins: Path

    @classmethod
    def make(cls, project: Path, plugins: Path, owner: User) -> Workplace:
        home = project.parent / "home"
        for directory in (home, home / "run"):
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
            "USER": "suite",
            "XDG_RUNTIME_DIR": str(self.home / "run"),
        }

    def unpack(self, archive: Path) -> None:
        words = ["tar", "--extract", "--strip-components=1", f"--file={archive}"]
        done = ordinary_user.run(words, env=self.env, cwd=self.project)
        assert done.returncode == 0, done.stderr

    def install_kernel(self, runtime: str) -> Path:
        """The kernelspec ``moat-NAME`` of the project; returns its kernel.json."""
        prefix = self.home / "prefix"
        words = [*(sys.executable, "-m", "moat_nb", "install", str(self.project))]
        words += [f"--prefix={prefix}", "--runtime", runtime]
        done = ordinary_user.run(words, env=self.env, cwd=self.project)
        assert done.returncode == 0, done.stderr
        (found,) = prefix.glob("share/jupyter/kernels/*/kernel.json")
        return found

    def run(self, suite: Suite, env: Mapping[str, str]) -> Report:
        """Run ``suite``, which stands in the project; ``env`` is added to its environment."""
        report = self.home / "report.xml"
        words = [
            *(sys.executable, "-m", "pytest", "-q", "--color=no", "--tb=short", "--no-header"),
            *("-p", "no:cacheprovider", "-p", "moat_suite", "-o", "log_cli=false"),
            *("--no-showlocals", "--durations=5", "--show-capture=stderr"),
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
            **env,
        }
        output = self._run(words, env)
        print(output)
        assert report.exists(), "the suite did not run"
        return read(report)

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
        ) as process:
            try:
                return process.communicate(timeout=LIMIT_SECONDS)[0]
            finally:
                # What a test's time limit ended in the middle may have left its workers.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def left(self) -> list[str]:
        """What the suite's sandboxes left of their directories."""
        return [str(path) for path in self.home.glob("run/moat-nb/*")]


def fetch(suite: Suite, directory: Path) -> Path:
    """The suite's source distribution from the package index, below ``directory``."""
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


def read(path: Path) -> Report:
    """A JUnit report as pytest writes it."""
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
        seconds=float(suite.get("time", 0)),
    )
