"""What makes a spare another's."""

from __future__ import annotations

from moat_nb.host.machine import Host
from moat_nb.planning.capabilities import Capabilities
from moat_nb.planning.kernel import plan_kernel
from moat_nb.planning.services import plan_services
from moat_nb.runtimes.docker.engine import EngineFacts
from moat_nb.runtimes.docker.runtime import Docker
from moat_nb.sandbox.pool import key_of
from moat_nb.sandbox.project import LaunchPlan
from tests.unit.projects import Make


def test_a_spare_with_another_env_of_a_service_is_another(config: Make, host: Host) -> None:
    """Though no repr has it."""

    def key(password: str, environ: dict[str, str] | None = None) -> str:
        env = f"{{REDIS_PASSWORD: {password}}}"
        given = config(f"dependencies: [redis]\nservices: {{redis: {{env: {env}}}}}")
        runtime = Docker("docker", {}, EngineFacts())
        spec = plan_kernel(given, host, Capabilities(name="docker")).spec
        sidecars = plan_services(given, spec, host)
        return key_of(
            LaunchPlan(
                config=given,
                file=given,
                host=host,
                runtime=runtime,
                why="why",
                spec=spec,
                image=None,
                sidecars=sidecars,
                environ=environ or {},
            )
        )

    assert key("one") == key("one")
    assert key("one") != key("other")
    # Of a secret the value that its sidecar was given.
    assert key("env://PW", {"PW": "a"}) == key("env://PW", {"PW": "a", "OTHER": "b"})
    assert key("env://PW", {"PW": "a"}) != key("env://PW", {"PW": "b"})
