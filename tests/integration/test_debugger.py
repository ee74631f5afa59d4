"""A notebook's debugger in a sandbox: debugpy is imported when it is asked for."""

from __future__ import annotations

from typing import Any

from moat_nb.jupyter.kernel_manager import Kernel
from tests.integration.conftest import UNCLOSED_LOOPS, Launcher

pytestmark = UNCLOSED_LOOPS

SECONDS = 300
IMPORTED = "import sys; print('debugpy' in sys.modules)"
CODE = "def f(x):\n    y = x + 1\n    return y\nprint(f(3))"


class Debugged:
    """A kernel, asked as a front end's debugger asks it."""

    def __init__(self, kernel: Kernel) -> None:
        self.client: Any = kernel.kc

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        request = {"type": "request", "seq": 1, "command": command, "arguments": arguments}
        message = self.client.session.msg("debug_request", request)
        self.client.control_channel.send(message)
        while True:
            reply = self.client.get_control_msg(timeout=SECONDS)
            if reply["parent_header"].get("msg_id") == message["header"]["msg_id"]:
                content: dict[str, Any] = reply["content"]
                assert content["success"], content
                return content.get("body", {})

    def run(self, code: str) -> str:
        """What it printed."""
        found = []
        self.client.execute_interactive(
            code, timeout=SECONDS, output_hook=lambda message: found.append(message["content"])
        )
        return "".join(content.get("text", "") for content in found)

    def until(self, kind: str) -> dict[str, Any]:
        while True:
            message = self.client.get_iopub_msg(timeout=SECONDS)
            content: dict[str, Any] = message["content"]
            if kind in (message["msg_type"], content.get("event")):
                return content


def test_a_front_end_debugs_in_a_sandbox(launcher: Launcher) -> None:
    with launcher.launch(launcher.project(python=True)) as box, Kernel.start(box) as kernel:
        debugged = Debugged(kernel)
        assert debugged.ask("debugInfo")["isStarted"] is False
        assert debugged.run("a = 5\n" + IMPORTED) == "False\n"
        variables = debugged.ask("inspectVariables")["variables"]
        assert [one["value"] for one in variables if one["name"] == "a"] == ["5"]
        assert debugged.run(IMPORTED) == "True\n"

        debugged.ask("initialize", clientID="test", adapterID="", pathFormat="path")
        debugged.ask("attach")
        path = debugged.ask("dumpCell", code=CODE)["sourcePath"]
        debugged.ask("setBreakpoints", source={"path": path}, breakpoints=[{"line": 2}])
        debugged.ask("configurationDone")
        debugged.client.execute(CODE)
        assert debugged.until("stopped")["body"]["reason"] == "breakpoint"
        (frame, *_) = debugged.ask("stackTrace", threadId=1)["stackFrames"]
        assert (frame["name"], frame["line"]) == ("f", 2)
        debugged.ask("continue", threadId=1)
        assert debugged.until("stream")["text"] == "4\n"
        debugged.ask("disconnect", restart=False, terminateDebuggee=False)
