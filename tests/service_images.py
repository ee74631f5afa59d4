"""Images of real servers from Debian's packages, where no registry can be reached.

They keep the contract of the official postgres, mysql and redis images: the entrypoint's variables,
uid 999, the directories that are volumes, the signal that stops them.
"""

from __future__ import annotations

import contextlib
import io
import secrets
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import ImageNotFound

REPOSITORY = "moat-nb-test/service"
ENTRYPOINT = Path(__file__).with_name("service_entrypoint.sh")

SERVERS = """
FROM {base}
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes \\
    --no-install-recommends postgresql redis-server mariadb-server \\
    && rm -rf /var/lib/apt/lists/* /etc/mysql /var/lib/mysql /var/lib/postgresql \\
    && mkdir -p /data /var/lib/mysql /var/lib/postgresql/data
COPY docker-entrypoint.sh /usr/local/bin/
ENTRYPOINT ["docker-entrypoint.sh"]
"""

OF_EACH = {
    "postgres": """
ENV PATH=/usr/lib/postgresql/15/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENV PGDATA=/var/lib/postgresql/data
RUN sed -i /^postgres:/d /etc/passwd && echo 'postgres:x:999:999::/var/lib/postgresql:/bin/sh' >>/etc/passwd
VOLUME /var/lib/postgresql/data
STOPSIGNAL SIGINT
CMD ["postgres"]
""",
    "mysql": """
RUN sed -i /^mysql:/d /etc/passwd && echo 'mysql:x:999:999::/var/lib/mysql:/bin/sh' >>/etc/passwd
VOLUME /var/lib/mysql
CMD ["mariadbd"]
""",
    "redis": """
RUN sed -i /^redis:/d /etc/passwd && echo 'redis:x:999:999::/data:/bin/sh' >>/etc/passwd
VOLUME /data
WORKDIR /data
CMD ["redis-server"]
""",
}


@dataclass(frozen=True, kw_only=True)
class ServiceImages:
    """Tags."""

    postgres: str
    mysql: str
    redis: str


@contextlib.contextmanager
def service_images(client: docker.DockerClient, base: str) -> Iterator[ServiceImages]:
    """Built on ``base``, Debian, under tags of this run's own; the tags are gone afterwards."""
    run = secrets.token_hex(4)
    servers = f"{REPOSITORY}:{run}"
    tags = {name: f"{REPOSITORY}-{name}:{run}" for name in OF_EACH}
    try:
        build(client, servers, SERVERS.format(base=base))
        for name, text in OF_EACH.items():
            build(client, tags[name], f"FROM {servers}\n{text}")
        yield ServiceImages(**tags)
    finally:
        for tag in (*tags.values(), servers):
            with contextlib.suppress(ImageNotFound):
                client.api.remove_image(tag, force=True)


def build(client: docker.DockerClient, tag: str, dockerfile: str) -> None:
    context = io.BytesIO()
    files = {"Dockerfile": dockerfile.encode(), "docker-entrypoint.sh": ENTRYPOINT.read_bytes()}
    with tarfile.open(fileobj=context, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755
            tar.addfile(entry, io.BytesIO(data))
    context.seek(0)
    # The engine of the tests has no network of its own to lend.
    client.images.build(
        fileobj=context, custom_context=True, tag=tag, network_mode="host", rm=True, forcerm=True
    )
