"""`kernel.transport: tcp`: a kernel that knows nothing else runs, though there is no network."""

from __future__ import annotations

from tests.integration.conftest import UNCLOSED_LOOPS
from tests.integration.test_jupyter import (
    Installed,
    connected,
    installed,
    interrupt_at,
    run,
    runtime,
)

__all__ = ["installed", "runtime"]

pytestmark = UNCLOSED_LOOPS

WHERE = """\
import ipykernel
info = ipykernel.get_connection_info(unpack=True)
print(info["transport"], info["ip"], info["shell_port"] > 1023)
"""


def test_it_listens_on_the_loopback_inside_and_its_clients_are_led_there(
    installed: Installed,
) -> None:
    file = installed.project / "moat.yaml"
    kernel = 'kernel: {argv: [python3, -m, ipykernel_launcher, -f, "{connection_file}"], '
    file.write_text(f"{file.read_text()}\n{kernel}transport: tcp}}\n")
    with connected(installed) as (manager, client):
        assert run(client, WHERE) == "tcp 127.0.0.1 True\n"
        assert run(client, "print('x' * 3_000_000)") == "x" * 3_000_000 + "\n"
        manager.restart_kernel(now=True)
        client.wait_for_ready(timeout=300)
        assert run(client, WHERE) == "tcp 127.0.0.1 True\n"
        interrupt_at(installed.project / "started", manager)
        waits = "open('started', 'w').close(); import time; time.sleep(1000)"
        assert "KeyboardInterrupt" in run(client, waits)
        assert run(client, "print(6 * 7)") == "42\n"
