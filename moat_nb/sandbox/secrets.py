"""Fetching secrets at launch. Their values go over the attach stream to the kernels and services
that need them, and nowhere else: not into a label, a log, a repr, an image or the engine's record
of the env."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Mapping

from moat_nb.config.model import Secret, Service
from moat_nb.errors import ConfigError, Problem

__all__ = ["fetch", "fetch_of_services"]

TIMEOUT = 60
"""Seconds: `op` may wait for the user's finger."""


def fetch(secrets: tuple[Secret, ...], environ: Mapping[str, str]) -> dict[str, str]:
    """``{NAME: value}``; ConfigError with every secret that could not be had."""
    problems: list[Problem] = []
    values = _fetch(secrets, environ, problems)
    if problems:
        raise ConfigError(problems)
    return values


def fetch_of_services(
    services: Iterable[Service], environ: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """``{service: {NAME: value}}``; raises as :func:`fetch`."""
    problems: list[Problem] = []
    values = {service.name: _fetch(service.secrets, environ, problems) for service in services}
    if problems:
        raise ConfigError(problems)
    return values


def _fetch(
    secrets: tuple[Secret, ...], environ: Mapping[str, str], problems: list[Problem]
) -> dict[str, str]:
    values = {}
    for secret in secrets:
        try:
            values[secret.name] = _fetch_one(secret, environ)
        except LookupError as error:
            what = f"secret {secret.name} ({secret.scheme}://{secret.reference}): {error.args[0]}"
            problems.append(Problem(where=secret.where, what=what))
    return values


def _fetch_one(secret: Secret, environ: Mapping[str, str]) -> str:
    if secret.scheme == "env":
        if secret.reference not in environ:
            name = secret.reference
            words = f"{name} is not set where Jupyter or moat-nb was started"
            raise LookupError(f"{words}; `export {name}=...` and start it again")
        return environ[secret.reference]
    if secret.scheme == "op":
        return _ask(["op", "read", "--no-newline", f"op://{secret.reference}"], environ)
    return _ask(
        [
            *("aws", "ssm", "get-parameter", "--with-decryption", "--output", "text"),
            *("--query", "Parameter.Value", "--name", f"/{secret.reference.lstrip('/')}"),
        ],
        environ,
    ).removesuffix("\n")


def _ask(argv: list[str], environ: Mapping[str, str]) -> str:
    if shutil.which(argv[0], path=environ.get("PATH")) is None:
        raise LookupError(f"the command {argv[0]!r} is not installed")
    try:
        done = subprocess.run(
            argv, env=dict(environ), capture_output=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise LookupError(f"{argv[0]} did not answer in {TIMEOUT} s") from None
    except OSError as error:
        raise LookupError(f"the command {argv[0]!r} cannot be run: {error.strerror}") from None
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip()
        raise LookupError(f"{argv[0]}: {words or f'exit code {done.returncode}'}")
    try:
        return done.stdout.decode()
    except UnicodeDecodeError:
        # Without the cause, which holds the value.
        raise LookupError(f"{argv[0]} gave a value that is not UTF-8 text") from None
