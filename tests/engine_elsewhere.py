"""An engine on what is another machine for its launchers: a dockerd of its own, whose network
namespace has an address and an ssh server, and no directory that is mounted from anywhere."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker

from moat_nb.runtimes.docker.endpoint import endpoint_of
from tests.egress.certificates import write_authority
from tests.engine import PrivateEngine
from tests.ordinary_user import ORDINARY
from tests.sshd import sshd, write_ssh

ADDRESS, TLS_PORT, SSH_PORT = "11.0.9.1", 2376, 2222

RUN_SSHD = """\
mount -t tmpfs moat-tests /run
mkdir /run/sshd
exec "$@"
"""
"""sshd wants a directory in /run; the machine's own stays as it is."""


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    engine: PrivateEngine
    client: docker.DockerClient
    """To the same engine, by its socket."""
    image: str
    """With ipykernel."""
    directory: Path

    def environ(self, way: str) -> dict[str, str]:
        """What a launcher is told: by ``ssh`` or by ``tls``."""
        path = f"{self.directory}/bin:{os.environ['PATH']}"
        if way == "ssh":
            return {"PATH": path, "DOCKER_HOST": f"ssh://gpu{self.engine.socket}"}
        return {
            "DOCKER_HOST": f"tcp://{ADDRESS}:{TLS_PORT}",
            "DOCKER_TLS_VERIFY": "1",
            "DOCKER_CERT_PATH": str(self.directory / "client"),
        }

    @property
    def runs(self) -> Path:
        """The XDG_RUNTIME_DIR of an ordinary user's launchers."""
        return self.directory / "run"

    @property
    def containers(self) -> list[str]:
        return [name for found in self.client.api.containers(all=True) for name in found["Names"]]

    @property
    def sandboxes(self) -> int:
        """How many run."""
        return len(self.client.api.containers(filters={"label": "moat.nb.role=kernel"}))

    @property
    def volumes(self) -> list[str]:
        return [found.name for found in self.client.volumes.list()]


@contextlib.contextmanager
def elsewhere(directory: Path, here: docker.DockerClient, image: str) -> Iterator[Elsewhere]:
    """Root only. ``image`` is taken along from the engine ``here``."""
    directory.mkdir()
    directory.chmod(0o755)
    (directory / "run").mkdir()
    os.chown(directory / "run", ORDINARY.uid, ORDINARY.gid)
    write_ssh(directory, ADDRESS, SSH_PORT)
    hosts, own = _certificates(directory)
    options = (
        *("--host", f"tcp://{ADDRESS}:{TLS_PORT}", "--tlsverify"),
        *("--tlscacert", str(hosts), "--tlscert", str(own), "--tlskey", str(own)),
    )
    engine = PrivateEngine(directory / "engine", ADDRESS, options)
    with contextlib.ExitStack() as undo:
        undo.callback(shutil.rmtree, directory)
        engine.start()
        undo.callback(engine.stop)
        client = docker.DockerClient(base_url=f"unix://{engine.socket}", timeout=300)
        undo.callback(client.close)
        client.api.load_image(here.api.get_image(image))
        before = (*engine.on_its_machine, "unshare", "--mount", "sh", "-euc", RUN_SSHD, "sshd")
        undo.enter_context(sshd(directory, before))
        made = Elsewhere(engine=engine, client=client, image=image, directory=directory)
        undo.callback(_end_forwarders, made)
        yield made


def _certificates(directory: Path) -> tuple[Path, Path]:
    """The authority's, and the engine's, which its clients have too."""
    hosts, own = write_authority(directory, [ADDRESS])
    client = directory / "client"
    client.mkdir(mode=0o755)
    shutil.copyfile(hosts, client / "ca.pem")
    for name in ("cert.pem", "key.pem"):
        shutil.copyfile(own, client / name)
    return hosts, own


def _end_forwarders(made: Elsewhere) -> None:
    """They end when their sockets are gone."""
    for way in ("ssh", "tls"):
        endpoint = endpoint_of(made.environ(way))
        assert endpoint is not None
        for runs in (Path("/run"), made.runs):
            path = runs / "moat-nb" / "engines" / endpoint.digest
            with contextlib.suppress(FileNotFoundError):
                pid = int(Path(f"{path}.pid").read_text())
                path.unlink()
                while Path(f"/proc/{pid}").exists():
                    time.sleep(0.05)
            Path(f"{path}.lock").unlink(missing_ok=True)
