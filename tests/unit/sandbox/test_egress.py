"""What of the launcher's environment gets into the options of a sandbox's proxy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from moat_nb.config.reader import load
from moat_nb.egress.options import ProxyOptions
from moat_nb.errors import StartError
from moat_nb.host.run_directory import RunDir
from moat_nb.sandbox.egress import set_up_proxy
from moat_nb.sandbox.project import plan

Ordered = Callable[[Mapping[str, str]], ProxyOptions]


@pytest.fixture
def ordered() -> Iterator[Ordered]:
    """What the proxy reads at its start, for a launcher with this environment."""

    def options(environ: Mapping[str, str]) -> ProxyOptions:
        # pytest's own directories are longer than a socket's path may be.
        with TemporaryDirectory(prefix="moat-furnish-", dir="/var/tmp") as path:
            project, run_dir = Path(path, "p"), RunDir(Path(path, "run"))
            project.mkdir()
            run_dir.path.mkdir()
            (project / "moat.yaml").write_text("name: p\n")
            spec = plan(load(project), "bubblewrap", environ=environ).spec
            made = set_up_proxy(run_dir, spec, environ)
            assert made is not None
            listener, found = made
            listener.close()
            assert spec.egress is not None and "hunter2" not in repr((spec, found))
            return ProxyOptions.parse(found.line())

    yield options


@pytest.mark.parametrize(
    ("environ", "upstream"),
    [
        ({}, None),
        ({"HTTPS_PROXY": ""}, None),
        ({"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ({"HTTP_PROXY": "http://p:1"}, "http://p:1"),
        ({"https_proxy": "http://a:1", "HTTPS_PROXY": "http://b:1"}, "http://a:1"),
        ({"HTTPS_PROXY": "http://b:1", "HTTP_PROXY": "http://c:1"}, "http://b:1"),
        ({"ALL_PROXY": "socks5://p:1"}, None),
        ({"HTTPS_PROXY": "http://ada:hunter2@p:1"}, "http://ada:hunter2@p:1"),
    ],
)
def test_the_launchers_proxy_is_the_proxys_upstream_with_its_password(
    ordered: Ordered, environ: dict[str, str], upstream: str | None
) -> None:
    assert ordered(environ).upstream == upstream


def test_what_the_launcher_reaches_directly_the_proxy_does_too(ordered: Ordered) -> None:
    assert ordered({}).no_proxy == ""
    assert ordered({"NO_PROXY": ".corp.example,a.test"}).no_proxy == ".corp.example,a.test"
    assert ordered({"no_proxy": "a.test", "NO_PROXY": "b.test"}).no_proxy == "a.test"


def test_networks_that_may_be_reached_are_named_by_the_launcher(ordered: Ordered) -> None:
    assert ordered({"MOAT_NB_REACHABLE": "10.1.2.0/24"}).reachable == ("10.1.2.0/24",)
    with pytest.raises(StartError, match="MOAT_NB_REACHABLE"):
        ordered({"MOAT_NB_REACHABLE": "intranet"})


@pytest.mark.parametrize("scheme", ["https", "HTTPS"])
def test_an_upstream_in_tls_is_checked_by_what_the_host_trusts(
    ordered: Ordered, scheme: str
) -> None:
    assert ordered({"HTTPS_PROXY": f"{scheme}://p:1"}).trust is not None
    assert ordered({"HTTPS_PROXY": "http://p:1"}).trust is None
