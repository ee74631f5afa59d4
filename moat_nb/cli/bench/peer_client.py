"""One start of a peer's kernel, timed. Run by an interpreter of the peers' own, which has their
packages and not ours: ``python peer_client.py PEER IMAGE`` prints seconds to the first reply."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Any

TIMEOUT = 60


def dockernel(image: str) -> float:
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import KernelManager

    argv = [sys.executable, "-m", "dockernel", "start", image, "{connection_file}"]
    begin = time.perf_counter()
    manager = KernelManager()
    manager._kernel_spec = KernelSpec(argv=argv, display_name="dockernel", language="python")
    manager.start_kernel()
    client = manager.client()
    try:
        return _first_reply(client, begin)
    finally:
        client.shutdown()  # a killed dockernel leaves its container running
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def gateway_provisioners(image: str) -> float:
    from jupyter_client.manager import KernelManager

    os.environ.update(KERNEL_USERNAME="moat-bench", KERNEL_UID="5000", KERNEL_GID="5000")
    begin = time.perf_counter()
    manager = KernelManager(kernel_name="moat-bench")
    manager.start_kernel()
    client = manager.client()
    try:
        return _first_reply(client, begin)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def autogen(image: str) -> float:
    from autogen_core import CancellationToken
    from autogen_core.code_executor import CodeBlock
    from autogen_ext.code_executors.docker_jupyter import (
        DockerJupyterCodeExecutor,
        DockerJupyterServer,
    )
    from requests import ConnectionError as NotYet

    async def first_reply() -> float:
        begin = time.perf_counter()
        # As the ports are known by then, the server is "ready", whether it listens or not.
        async with DockerJupyterServer(custom_image_name=image) as server:
            executor = DockerJupyterCodeExecutor(server)
            while True:
                try:
                    await executor.start()
                    break
                except NotYet:
                    if time.perf_counter() - begin > TIMEOUT:
                        raise
            code = CodeBlock(code="1", language="python")
            result = await executor.execute_code_blocks([code], CancellationToken())
            seconds = time.perf_counter() - begin
            await executor.stop()
            if result.exit_code != 0:
                raise RuntimeError(result.output)
            return seconds

    return asyncio.run(first_reply())


def _first_reply(client: Any, begin: float) -> float:
    client.start_channels()
    client.kernel_info(reply=True, timeout=TIMEOUT)
    client.execute("1", reply=True, timeout=TIMEOUT)
    return time.perf_counter() - begin


PEERS = {
    "dockernel": dockernel,
    "gateway-provisioners": gateway_provisioners,
    "autogen": autogen,
}

if __name__ == "__main__":
    print(PEERS[sys.argv[1]](sys.argv[2]))
