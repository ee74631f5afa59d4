"""Other launchers of kernels in containers, to be measured beside ours: on the same engine, with
the same image. Each is used as its own documentation has it, by an interpreter of its own.

They reach their kernels over the engine's bridge network, which ours does without; an engine that
has none can run none of them.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING

from moat_nb.cli.bench import peer_client
from moat_nb.config.model import Config
from moat_nb.errors import MoatError
from moat_nb.host.scratch import scratch_directory
from moat_nb.planning.image import image_plan
from moat_nb.planning.spec import LABEL
from moat_nb.runtimes.docker.engine import ENGINE_TIMEOUT
from moat_nb.runtimes.docker.runtime import Docker
from moat_nb.runtimes.images.ensure import ensure_image
from moat_nb.text.progress import Progress

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["Peers", "ready_peers"]

REQUIREMENTS = ("dockernel", "gateway-provisioners", "autogen-ext[docker-jupyter-executor]")

IN_IMAGE = ("jupyter_kernel_gateway", "pycryptodomex")
"""What autogen's server, and gateway-provisioners' launcher, need beside ipykernel."""

TIMEOUT = 120

TAG = "moat-nb-bench/peers:1"

# gateway-provisioners' scripts come as templates ($$ for $) and in parts, for its own installer.
_DOCKERFILE = f"""\
FROM {{base}}
LABEL {LABEL}.image=1
USER 0:0
COPY launchers /usr/local/bin/kernel-launchers
COPY start /usr/local/bin/moat-bench-start
RUN ln -sf "$(command -v python3)" /usr/local/bin/python
EXPOSE 8888
CMD ["sh", "/usr/local/bin/moat-bench-start"]
"""

_START = """\
if [ -n "$DOCKERNEL_CONNECTION_FILE" ]; then
    exec python3 -m ipykernel_launcher -f "$DOCKERNEL_CONNECTION_FILE"
elif [ -n "$RESPONSE_ADDRESS" ]; then
    exec python3 /usr/local/bin/kernel-launchers/python/scripts/launch_ipykernel.py \\
        --kernel-id "$KERNEL_ID" --port-range "$PORT_RANGE" \\
        --response-address "$RESPONSE_ADDRESS" --public-key "$PUBLIC_KEY" \\
        --spark-context-initialization-mode none
fi
exec python3 -m jupyter kernelgateway --KernelGatewayApp.ip=0.0.0.0 \\
    --KernelGatewayApp.port=8888 --KernelGatewayApp.auth_token="$TOKEN" \\
    --JupyterApp.answer_yes=true --JupyterWebsocketPersonality.list_kernels=true
"""


@dataclass(frozen=True, kw_only=True)
class Peers:
    """Ready to be timed: an interpreter that has them, and an image that they can start."""

    names: tuple[str, ...]
    python: Path
    environ: Mapping[str, str]

    def start(self, name: str) -> float:
        """Seconds from a start to the first reply; MoatError with its last words if it fails."""
        command = [str(self.python), peer_client.__file__, name, TAG]
        try:
            done = subprocess.run(
                command, check=False, capture_output=True, env=self.environ, timeout=TIMEOUT
            )
        except subprocess.TimeoutExpired:
            raise MoatError(f"{name} gave no reply in {TIMEOUT} s") from None
        if done.returncode != 0:
            raise MoatError(f"{name} does not start: {_last_line(done.stderr)}")
        return float(done.stdout.split()[-1])


@contextmanager
def ready_peers(config: Config, progress: Progress) -> Iterator[Peers]:
    """All that can be started here, until the block ends; why another cannot goes to stderr.

    MoatError when there is no bridge network, or pip cannot install them.
    """
    from docker import DockerClient

    engine = Docker("docker", os.environ)
    engine.available()
    assert engine.socket is not None  # else there would be nothing to compare with
    client = DockerClient(base_url=f"unix://{engine.socket}", timeout=ENGINE_TIMEOUT)
    try:
        with scratch_directory("moat-nb-peers-") as directory:
            gateway = _bridge_gateway(client)
            progress.stage("installing the peers")
            python = _install(directory)
            _build(config, client, progress, python)
            environ = {
                "PATH": f"{python.parent}:{os.environ['PATH']}",
                "HOME": str(directory),
                "DOCKER_HOST": f"unix://{engine.socket}",
                "GP_RESPONSE_IP": gateway,
            }
            peers = Peers(names=(), python=python, environ=environ)
            yield replace(peers, names=tuple(_those_that_start(peers)))
    finally:
        _remove(client)
        client.close()


def _remove(client: DockerClient) -> None:
    """The peers' image, and what still runs on it."""
    for container in client.containers.list(
        all=True, filters={"ancestor": TAG}, ignore_removed=True
    ):
        container.remove(force=True)
    if client.images.list(TAG):
        client.images.remove(TAG)


def _those_that_start(peers: Peers) -> Iterator[str]:
    for name in peer_client.PEERS:
        try:
            peers.start(name)
        except MoatError as error:
            print(f"moat-nb: {name} is left out: {error}", file=sys.stderr)
        else:
            yield name


def _bridge_gateway(client: DockerClient) -> str:
    for network in client.networks.list(names=["bridge"]):
        for pool in network.attrs["IPAM"]["Config"] or ():
            # An engine that has just made it does not say which address it took: the first.
            first = next(ip_network(pool["Subnet"]).hosts())
            return str(pool.get("Gateway", first))
    raise MoatError(
        "the engine has no bridge network, and they reach their kernels over nothing else"
    )


def _install(directory: Path) -> Path:
    """A virtual environment with the peers, and gateway-provisioners' kernelspec in it."""
    prefix = directory / "venv"
    python = prefix / "bin" / "python"
    spec = ("docker-spec", "install", f"--image-name={TAG}", "--kernel-name=moat-bench")
    for command in (
        (sys.executable, "-m", "venv", str(prefix)),
        (str(python), "-m", "pip", "install", "--quiet", *REQUIREMENTS),
        (str(prefix / "bin" / "jupyter"), *spec, f"--prefix={prefix}"),
    ):
        done = subprocess.run(command, check=False, capture_output=True)
        if done.returncode != 0:
            words = _last_line(done.stderr)
            raise MoatError(f"{' '.join(command[:4])} failed: {words}")
    return python


def _build(config: Config, client: DockerClient, progress: Progress, python: Path) -> None:
    packages = (*config.kernel.packages, *IN_IMAGE)
    kernel = replace(config.kernel, packages=packages)
    base = ensure_image(image_plan(replace(config, kernel=kernel)), client, progress)
    from docker.errors import BuildError

    launchers = next(python.parents[1].glob("lib/*/site-packages")) / "gateway_provisioners"
    launchers /= "kernel-launchers"
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        tar.add(launchers / "python", "launchers/python")
        tar.add(launchers / "shared" / "scripts", "launchers/python/scripts")
        for name, text in (("Dockerfile", _DOCKERFILE.format(base=base)), ("start", _START)):
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    context.seek(0)
    try:
        client.images.build(fileobj=context, custom_context=True, tag=TAG, rm=True, forcerm=True)
    except BuildError as error:
        raise MoatError(f"their image cannot be built: {error}") from error


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no word said"
