"""`kernel.services` of a moat.yaml, read."""

from __future__ import annotations

import pytest

from moat_nb.config.model import Service
from moat_nb.errors import ConfigError
from tests.unit.planning.sidecars import OWN
from tests.unit.projects import Make


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A: {image: a}", "moat.yaml:2:21: 'A' cannot name a service: lower-case letters"),
        ("localhost: {image: a}", "'localhost' cannot name a service"),
        ("a: {}", "kernel.services.a.image: missing; give it a value"),
        ("a: {image: 'a b'}", "kernel.services.a.image: 'a b' is not the name of an image"),
        ("a: {image: a, port: 1}", "'port' in kernel.services.a; did you mean 'ports'?"),
        ("a: {image: a, ports: [0]}", "kernel.services.a.ports[0]: '0' is not a whole number"),
        ("a: {image: a, user: 0}", "UID or UID:GID, numbers above 0: a sidecar never runs as root"),
        ("a: {image: a, user: root}", "'root' is not UID or UID:GID"),
        ("a: {image: a, ready: {timeout: 1}}", "ready: no check given; give port, command or log"),
        ("a: {image: a, ready: {port: 1, log: x}}", "ready: port and log given"),
        ("a: {image: a, mounts: ['.:/etc']}", "the target '/etc' is refused"),
        ("a: {image: a, mounts: ['.:/a', './b:/a']}", "a second mount at /a"),
        ("redis: {}", "kernel.services.redis is given, but redis is not among the dependencies"),
        ("postgres: {image: a}", "unknown key 'image' in kernel.services.postgres"),
    ],
)
def test_a_wrong_service_is_refused_with_its_place(config: Make, text: str, message: str) -> None:
    whole = f"kernel: {{services: {{{text}}}}}\ndependencies: [postgres]"
    with pytest.raises(ConfigError) as raised:
        config(whole)
    assert message in str(raised.value)


def test_a_service_in_the_config_has_no_image_only_where_it_is_built_in(config: Make) -> None:
    given = config(OWN)
    assert {service.name for service in given.services if service.image is None} == {"postgres"}
    assert isinstance(given.services[0], Service)
