"""Which engine a user's settings name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from moat_nb.runtimes.docker.endpoint import Endpoint, EndpointError, Tls, endpoint_of


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    """Where a user has no settings yet."""
    return {"HOME": str(tmp_path)}


def test_without_settings_none_is_named(settings: dict[str, str]) -> None:
    assert endpoint_of(settings) is None


@pytest.mark.parametrize(
    ("url", "socket"), [("unix:///a/b.sock", "/a/b.sock"), ("/a/b.sock", "/a/b.sock")]
)
def test_a_unix_socket_is_of_this_machine(settings: dict[str, str], url: str, socket: str) -> None:
    found = endpoint_of({**settings, "DOCKER_HOST": url})
    assert found is not None and (found.socket, found.elsewhere) == (socket, "")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ssh://gpu", ("--", "gpu", "/var/run/docker.sock")),
        ("ssh://gpu/", ("--", "gpu", "/var/run/docker.sock")),
        ("ssh://ada@gpu:2222", ("-l", "ada", "-p", "2222", "--", "gpu", "/var/run/docker.sock")),
        ("ssh://gpu/run/user/7/docker.sock", ("--", "gpu", "/run/user/7/docker.sock")),
        ("ssh://ada@[2001:db8::1]", ("-l", "ada", "--", "2001:db8::1", "/var/run/docker.sock")),
        ("SSH://a%40b@GPU-Box", ("-l", "a@b", "--", "GPU-Box", "/var/run/docker.sock")),
        ("ssh://@gpu", ("--", "gpu", "/var/run/docker.sock")),
    ],
)
def test_what_ssh_leads_to_is_elsewhere(
    settings: dict[str, str], url: str, words: tuple[str, ...]
) -> None:
    found = endpoint_of({**settings, "DOCKER_HOST": url})
    assert found is not None and (found.ssh, found.elsewhere) == (words, url)


def test_tls_takes_the_files_that_are_there(settings: dict[str, str], tmp_path: Path) -> None:
    for name in ("ca.pem", "cert.pem"):
        (tmp_path / name).touch()
    environ = {"DOCKER_HOST": "tcp://gpu", "DOCKER_TLS_VERIFY": "1"}
    found = endpoint_of({**settings, **environ, "DOCKER_CERT_PATH": str(tmp_path)})
    assert found == Endpoint(
        url="tcp://gpu",
        said="DOCKER_HOST",
        address=("gpu", 2376),
        tls=Tls(ca=f"{tmp_path}/ca.pem", cert=f"{tmp_path}/cert.pem"),
    )
    assert found.elsewhere == "tcp://gpu"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_port_of_this_machine_needs_no_tls(settings: dict[str, str], host: str) -> None:
    found = endpoint_of({**settings, "DOCKER_HOST": f"tcp://{host}:2375"})
    assert found is not None and found.elsewhere == ""


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("tcp://gpu:2375", "without TLS, whoever is on the way"),
        ("tcp://127.0.0.1.example:2375", "without TLS"),
        ("ssh://gpu:many", "Port could not be cast"),
        ("ssh://ada:password@gpu", "names no engine"),
        ("ssh://-oProxyCommand=x/", "names no engine"),
        ("ssh://", "names no engine"),
        ("fd://", "names no engine"),
        ("npipe:////./pipe/docker", "names no engine"),
        ("gpu", "names no engine"),
    ],
)
def test_any_other_is_refused(settings: dict[str, str], url: str, words: str) -> None:
    with pytest.raises(EndpointError, match=words) as refused:
        endpoint_of({**settings, "DOCKER_HOST": url})
    assert refused.value.hint


def context(tmp_path: Path, name: str, host: str) -> None:
    """As `docker context create` writes it."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    place = tmp_path / ".docker/contexts/meta" / digest
    place.mkdir(parents=True)
    words = {"Name": name, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": False}}}
    (place / "meta.json").write_text(json.dumps(words))


def test_a_context_is_found_as_dockers_command_line_finds_it(
    settings: dict[str, str], tmp_path: Path
) -> None:
    context(tmp_path, "gpu", "ssh://gpu")
    context(tmp_path, "desktop", "unix:///home/ada/.docker/desktop/docker.sock")
    (tmp_path / ".docker/config.json").write_text('{"currentContext": "desktop"}')
    found = endpoint_of(settings)
    assert found is not None
    assert (found.socket, found.said) == (
        "/home/ada/.docker/desktop/docker.sock",
        "docker context desktop",
    )
    assert found.virtual
    found = endpoint_of({**settings, "DOCKER_CONTEXT": "gpu"})
    assert found is not None and found.elsewhere == "ssh://gpu"
    assert endpoint_of({**settings, "DOCKER_CONTEXT": "default"}) is None
    found = endpoint_of({**settings, "DOCKER_CONTEXT": "gpu", "DOCKER_HOST": "/a.sock"})
    assert found is not None and found.socket == "/a.sock"
    with pytest.raises(EndpointError, match="DOCKER_CONTEXT none: there is no such context"):
        endpoint_of({**settings, "DOCKER_CONTEXT": "none"})


@pytest.mark.parametrize("text", ["", "[]", "{", '{"currentContext": 7}', '{"auths": {}}'])
def test_settings_that_name_no_context_are_none(
    settings: dict[str, str], tmp_path: Path, text: str
) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text(text)
    assert endpoint_of(settings) is None
