"""The API of a cluster, by the official client: what a sandbox needs of it, and no more."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from moat_nb.config.model import ClusterOptions
from moat_nb.errors import RuntimeUnavailable, StartError
from moat_nb.runtimes.kubernetes.ended import has_ended, how_it_ended, is_running, why_it_waits
from moat_nb.text.terminal import LOGGER, one_line

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, CoreV1Api
    from kubernetes.stream.ws_client import WSClient

__all__ = ["INSTALL", "Cluster"]

INSTALL = "pip install 'moat-nb[kubernetes]'"
ANSWER_SECONDS = 30.0
LOOK_SECONDS = 5.0
"""For the first answer, that says whether anybody is there."""
WATCH_SECONDS = 30
"""One look at a pod; the next goes on where it ended."""
BETWEEN_SECONDS = 0.2

OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""In a pod, as of JupyterHub's."""

MOST_WORDS = 1000
"""Characters of the API's own."""

PENDING_SECONDS = 600.0
"""For a node to be found and the image to be there, each change of which is told."""

BROKEN = (TypeError, AttributeError, KeyError, ValueError, OSError, RecursionError)
"""What the library raises of a kubeconfig, or of an answer, that is none."""
MOST_ANSWER = 64 << 20
"""Bytes."""

_T = TypeVar("_T")


@contextlib.contextmanager
def _loaded(files: str) -> Iterator[tuple[Any, Any]]:
    """The library's parts. Raises RuntimeUnavailable, also for what is wrong with a kubeconfig."""
    try:
        from kubernetes import client, config
    except ImportError:
        raise RuntimeUnavailable(f"kubernetes: its client is missing; {INSTALL}") from None
    try:
        yield client, config
    except (config.ConfigException, yaml.YAMLError, *BROKEN) as error:
        words = one_line(" ".join(str(error).split())) or type(error).__name__
        raise RuntimeUnavailable(f"kubernetes: {files}: {words}") from error


class Cluster:
    """That of a kubeconfig's context, or the one that this process is a pod of.

    Methods raise StartError with the API's own words. Thread-safe.
    """

    def __init__(self, options: ClusterOptions, environ: Mapping[str, str]) -> None:
        self._options = options
        self._environ = environ

    @classmethod
    def of(cls, options: ClusterOptions, environ: Mapping[str, str]) -> Cluster:
        """One for all sandboxes of this process that are made alike: it keeps its connections, and
        knows that it answers."""
        made = cls(options, environ)
        key = (os.getpid(), options.context, options.namespace, made._files, *made._times)
        with _lock:
            return _known.setdefault(key, made)

    @property
    def where(self) -> str:
        """How to name it. Raises RuntimeUnavailable."""
        return f"Kubernetes ({self.context}, namespace {self.namespace})"

    @property
    def namespace(self) -> str:
        return self._options.namespace or self._context[1]

    @property
    def context(self) -> str:
        return self._context[0]

    @property
    def _files(self) -> str:
        home = self._environ.get("HOME") or Path.home()
        return self._environ.get("KUBECONFIG") or f"{home}/.kube/config"

    @property
    def _times(self) -> Iterator[float]:
        """A kubeconfig that was written anew is another one."""
        for file in self._files.split(os.pathsep):
            with contextlib.suppress(OSError):
                yield Path(file).stat().st_mtime

    @property
    def _within(self) -> bool:
        """Whether there is no kubeconfig, so that it can only be the cluster that we are in."""
        return not any(Path(file).exists() for file in self._files.split(os.pathsep))

    @property
    def is_named(self) -> bool:
        """Whether there is a kubeconfig, or this process is in a pod."""
        return not self._within or OWN_NAMESPACE.exists()

    @functools.cached_property
    def _context(self) -> tuple[str, str]:
        """Its name and its namespace; runs none of the kubeconfig's programs."""
        with _loaded(self._files) as (_, config):
            if self._within:
                if not OWN_NAMESPACE.exists():
                    raise RuntimeUnavailable(f"kubernetes: there is no kubeconfig {self._files}")
                return "the cluster of this pod", OWN_NAMESPACE.read_text().strip()
            contexts, current = config.list_kube_config_contexts(self._files)
            name = self._options.context or current["name"]
            for found in contexts:
                if found["name"] == name:
                    return name, found["context"].get("namespace") or "default"
            there = ", ".join(each["name"] for each in contexts)
            raise RuntimeUnavailable(f"kubernetes: {self._files} has no context {name}: {there}")

    @functools.cached_property
    def _client(self) -> ApiClient:
        with _loaded(self._files) as (client, config):
            settings = client.Configuration()
            if self._within:
                config.load_incluster_config(settings)
            else:
                config.load_kube_config(self._files, self.context, settings)
            settings.retries = False
            made: ApiClient = client.ApiClient(settings)
            return made

    @property
    def api(self) -> CoreV1Api:
        from kubernetes.client import CoreV1Api

        return CoreV1Api(self._client)

    # -------- questions

    @functools.cached_property
    def version(self) -> str:
        from kubernetes.client import VersionApi

        api = VersionApi(self._client)
        found = self._json(api.get_code, _request_timeout=LOOK_SECONDS)
        return one_line(str(found.get("gitVersion")))[:100]

    def make_pod(self, words: dict[str, Any]) -> dict[str, Any]:
        return self._json(self.api.create_namespaced_pod, self.namespace, words)

    def pod(self, name: str) -> dict[str, Any] | None:
        return self._there(self.api.read_namespaced_pod, name, self.namespace)

    def pods(self, labels: str) -> list[dict[str, Any]]:
        """Those that a label selector names."""
        found = self._json(self.api.list_namespaced_pod, self.namespace, label_selector=labels)
        return [each for each in found.get("items") or () if isinstance(each, dict)]

    def until_it_runs(self, pod: dict[str, Any], container: str) -> None:
        """Returns when that container of a pod that was made runs; tells what it waits for."""
        name, version = pod["metadata"]["name"], pod["metadata"]["resourceVersion"]
        before, why, hopeless = "", "", False
        give_up = time.monotonic() + PENDING_SECONDS
        while time.monotonic() < give_up and not hopeless:
            with contextlib.closing(self._changes(name, version)) as changes:
                for found in changes:
                    if is_running(found, container):
                        return
                    if has_ended(found, container):
                        raise StartError(f"{name}: {how_it_ended(found)}")
                    now, hopeless = why_it_waits(found)
                    if now and now != why:
                        before, why = why, now
                        LOGGER.warning("%s: %s", self.where, why)
                    if hopeless:
                        break
            version = ""  # as it is then: an older one may be forgotten
            time.sleep(BETWEEN_SECONDS)
        # A pull that is given up no more says what it failed of.
        words = "; ".join(filter(None, (before, why))) or "it does not start"
        raise StartError(f"{name}: {words}")

    def _changes(self, name: str, version: str) -> Generator[dict[str, Any], None, None]:
        """A pod as it is after each change since a version, for a while."""
        from kubernetes.watch import Watch

        events = Watch().stream(
            self.api.list_namespaced_pod,
            self.namespace,
            field_selector=f"metadata.name={name}",
            **({"resource_version": version} if version else {}),
            timeout_seconds=WATCH_SECONDS,
            deserialize=False,
        )
        with contextlib.closing(events):
            while True:
                try:
                    event = self._asked(lambda: next(events))
                except StopIteration:
                    return
                except StartError:
                    if version:
                        return  # once more, with what is there now
                    raise
                found: dict[str, Any] = event["object"]
                if event["type"] == "DELETED":
                    raise StartError(f"{name}: {how_it_ended(found) or 'the pod was deleted'}")
                if event["type"] != "ERROR":  # a version that is too old, say
                    yield found

    def delete_pod(self, name: str, *, at_once: bool = False) -> bool:
        """Whether there was one."""
        return self._deleted(self.api.delete_namespaced_pod, name, 0 if at_once else 1)

    def run(self, pod: str, container: str, argv: tuple[str, ...]) -> WSClient:
        """The stream of a program that is started in a container."""
        return self._stream("exec", pod, container, command=list(argv))

    def attach(self, pod: str, container: str) -> WSClient:
        """The stream of a container's first program, without what it said before."""
        return self._stream("attach", pod, container)

    def _stream(self, how: str, pod: str, container: str, **more: Any) -> WSClient:
        from kubernetes.client import ApiClient, CoreV1Api
        from kubernetes.stream import stream

        # A client of its own: how it asks is changed while the stream begins.
        own = CoreV1Api(ApiClient(self._client.configuration))
        made: WSClient = self._asked(
            lambda: stream(
                getattr(own, f"connect_get_namespaced_pod_{how}"),
                *(pod, self.namespace),
                container=container,
                **more,
                stdin=True,
                stdout=True,
                stderr=True,
                tty=False,
                _preload_content=False,
                binary=True,
            )
        )
        return made

    def claim(self, name: str) -> dict[str, Any] | None:
        api = self.api
        return self._there(api.read_namespaced_persistent_volume_claim, name, self.namespace)

    def make_claim(self, words: dict[str, Any]) -> None:
        self._json(self.api.create_namespaced_persistent_volume_claim, self.namespace, words)

    def delete_claim(self, name: str) -> bool:
        """Whether there was one."""
        return self._deleted(self.api.delete_namespaced_persistent_volume_claim, name, None)

    def until_claim_is_gone(self, name: str) -> None:
        """It is held as long as a pod's end is not told."""
        give_up = time.monotonic() + ANSWER_SECONDS
        while self.claim(name) is not None:
            if time.monotonic() > give_up:
                raise StartError(f"{self.where}: {name} is not removed: a pod still has it")
            time.sleep(0.2)

    # -------- answers

    def _json(self, call: Callable[..., Any], *arguments: Any, **more: Any) -> dict[str, Any]:
        def answer() -> Any:
            options = {"_preload_content": False, "_request_timeout": ANSWER_SECONDS, **more}
            found = call(*arguments, **options)
            try:
                return json.loads(found.read(MOST_ANSWER))
            finally:
                found.release_conn()

        made = self._asked(answer)
        if not isinstance(made, dict):
            raise StartError(f"{self.where}: its answer is none of Kubernetes'")
        return made

    def _there(self, call: Callable[..., Any], *arguments: Any) -> dict[str, Any] | None:
        with contextlib.suppress(Missing):
            return self._json(call, *arguments)
        return None

    def _deleted(self, call: Callable[..., Any], name: str, grace: int | None) -> bool:
        more = {} if grace is None else {"grace_period_seconds": grace}
        with contextlib.suppress(Missing):
            self._json(call, name, self.namespace, **more)
            return True
        return False

    def _asked(self, ask: Callable[[], _T]) -> _T:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return ask()
        except (ApiException, HTTPError, *BROKEN) as error:
            raise self._words(error) from error

    def _words(self, error: Exception) -> StartError:
        status, said = getattr(error, "status", None), getattr(error, "reason", None) or str(error)
        # A stream's refusal has it behind its headers.
        body = getattr(error, "body", None) or said[max(0, said.find('{"kind":"Status"')) :]
        with contextlib.suppress(*BROKEN):
            found = json.loads(body)
            said, status = found["message"], status or found.get("code")
        words = f"{self.where}: {one_line(' '.join(str(said)[:MOST_WORDS].split()))}"
        if status == 404:
            return Missing(words)
        if status == 403 and "quota" not in words:
            words += "; docs/kubernetes.md has the Role that a launcher needs"
        return StartError(words)


_known: dict[tuple[object, ...], Cluster] = {}
_lock = threading.Lock()


class Missing(StartError):
    """There is no such thing."""
