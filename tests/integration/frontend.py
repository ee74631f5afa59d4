"""A front end for tests: a plain ipykernel of its own, as JupyterLab would start it."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_client.manager import KernelManager

SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Executed:
    reply: dict[str, Any]
    outputs: list[tuple[str, dict[str, Any]]]
    """Types and contents of output messages, in order."""

    def text(self, name: str = "stdout") -> str:
        return "".join(
            content["text"]
            for kind, content in self.outputs
            if kind == "stream" and content["name"] == name
        )

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [content for found, content in self.outputs if found == kind]


class FrontEnd:
    def __init__(self, manager: KernelManager) -> None:
        self.manager = manager
        self.client = manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=SECONDS)

    def run(
        self,
        cell: str,
        *,
        answer: Callable[[str, bool], str] | None = None,
        on_output: Callable[[str, dict[str, Any]], None] = lambda kind, content: None,
    ) -> Executed:
        """Run a cell; ``answer(prompt, password)`` is asked for input, None allows none."""
        outputs = []

        def hear(message: dict[str, Any]) -> None:
            kind, content = message["header"]["msg_type"], message["content"]
            if kind not in ("status", "execute_input"):
                outputs.append((kind, content))
                on_output(kind, content)

        def asked(message: dict[str, Any]) -> None:
            assert answer is not None
            content = message["content"]
            self.client.input(answer(content["prompt"], content["password"]))

        reply = self.client.execute_interactive(
            cell,
            allow_stdin=answer is not None,
            stdin_hook=asked if answer is not None else None,
            output_hook=hear,
            timeout=SECONDS,
        )
        return Executed(reply=reply["content"], outputs=outputs)

    def interrupt(self) -> None:
        # From a thread of its own: the manager's blocking calls need one without an event loop.
        thread = threading.Thread(target=self.manager.interrupt_kernel)
        thread.start()
        thread.join()


@contextmanager
def opened(project: Path) -> Iterator[FrontEnd]:
    """A front end on a notebook that lies in ``project``, with the extension loaded."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(project))
    front = None
    try:
        front = FrontEnd(manager)
        loaded = front.run("%load_ext moat_nb")
        assert loaded.reply["status"] == "ok", loaded
        yield front
    finally:
        if front is not None:
            front.client.stop_channels()
        manager.shutdown_kernel()
        del manager, front
        gc.collect()  # what jupyter_client left open is said here, and not of another test
