"""Images of real servers from Debian's packages, where no registry can be reached.

They keep the contract of the official postgres, mysql and redis images: the entrypoint's variables,
uid 999, the directories that are volumes, the signal that stops them. Of
ollama there is a stand-in.
"""

from __future__ import annotations

import contextlib
import io
import json
import secrets
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import ImageNotFound

from tests.base_image import root_filesystem

REPOSITORY = "moat-nb-test/service"
ENTRYPOINT = Path(__file__).with_name("service_entrypoint.sh")
OLLAMA_SERVER = Path(__file__).with_name("ollama_server.py")

PACKAGES = ("postgresql", "redis-server", "mariadb-server")

SERVERS = """
FROM {imported}
RUN rm -rf /etc/mysql /var/lib/mysql /var/lib/postgresql \\
    && mkdir -p /data /var/lib/mysql /var/lib/postgresql/data \\
    && chown 999:999 /data /var/lib/mysql /var/lib/postgresql/data
COPY docker-entrypoint.sh /usr/local/bin/
ENTRYPOINT ["docker-entrypoint.sh"]
"""

OF_EACH = {
    "postgres": """
ENV PATH=/usr/lib/postgresql/15/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENV PGDATA=/var/lib/postgresql/data LANG=C.UTF-8
RUN sed -i 's/^postgres:x:[0-9]*:[0-9]*:/postgres:x:999:999:/' /etc/passwd
VOLUME /var/lib/postgresql/data
STOPSIGNAL SIGINT
CMD ["postgres"]
""",
    "mysql": """
RUN sed -i 's/^mysql:x:[0-9]*:[0-9]*:/mysql:x:999:999:/' /etc/passwd
VOLUME /var/lib/mysql
CMD ["mariadbd"]
""",
    "redis": """
RUN sed -i 's/^redis:x:[0-9]*:[0-9]*:/redis:x:999:999:/' /etc/passwd
VOLUME /data
WORKDIR /data
CMD ["redis-server"]
""",
}

OLLAMA = """
FROM {base}
COPY ollama /bin/ollama
ENV OLLAMA_HOST=0.0.0.0:11434
ENTRYPOINT ["/bin/ollama"]
CMD ["serve"]
"""


@dataclass(frozen=True, kw_only=True)
class ServiceImages:
    """Tags."""

    postgres: str
    mysql: str
    redis: str


@contextlib.contextmanager
def service_images(client: docker.DockerClient, cache: Path) -> Iterator[ServiceImages]:
    """Under tags of this run's own; the tags are gone afterwards. ``cache`` is as for the base."""
    run = secrets.token_hex(4)
    servers = f"{REPOSITORY}:{run}"
    tar = root_filesystem(client, cache, "servers", PACKAGES)
    imported = json.loads(client.api.import_image_from_file(str(tar)))["status"]
    tags = {name: f"{REPOSITORY}-{name}:{run}" for name in OF_EACH}
    try:
        files = {"docker-entrypoint.sh": ENTRYPOINT.read_bytes()}
        build(client, servers, SERVERS.format(imported=imported), files)
        for name, text in OF_EACH.items():
            build(client, tags[name], f"FROM {servers}\n{text}", files)
        yield ServiceImages(**tags)
    finally:
        remove(client, (*tags.values(), servers))


@contextlib.contextmanager
def ollama_image(client: docker.DockerClient, base: str) -> Iterator[str]:
    """The tag of one with a stand-in for ollama's server, on ``base``, which has a python3."""
    tag = f"{REPOSITORY}-ollama:{secrets.token_hex(4)}"
    try:
        build(client, tag, OLLAMA.format(base=base), {"ollama": OLLAMA_SERVER.read_bytes()})
        yield tag
    finally:
        remove(client, (tag,))


def remove(client: docker.DockerClient, tags: Iterable[str]) -> None:
    for tag in tags:
        with contextlib.suppress(ImageNotFound):
            client.api.remove_image(tag, force=True)


def build(
    client: docker.DockerClient, tag: str, dockerfile: str, given: Mapping[str, bytes]
) -> None:
    context = io.BytesIO()
    files = {"Dockerfile": dockerfile.encode(), **given}
    with tarfile.open(fileobj=context, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755
            tar.addfile(entry, io.BytesIO(data))
    context.seek(0)
    client.images.build(
        fileobj=context, custom_context=True, tag=tag, network_mode="none", rm=True, forcerm=True
    )
