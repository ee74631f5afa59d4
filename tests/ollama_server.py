#!/usr/bin/python3
"""A stand-in for ollama's server, which cannot be had without a registry.

It keeps what ollama's docs/api.md says of ``POST /api/pull`` and ``GET /api/tags``, and what its
docs/faq.md says of ``OLLAMA_HOST``, ``OLLAMA_MODELS`` and proxies; models come from a registry by
the OCI's paths, whose blobs are redirected, as ollama's are. A model holds no weights.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MODELS = Path(os.environ["OLLAMA_MODELS"])
BLOBS, MANIFESTS = MODELS / "blobs", MODELS / "manifests"
REGISTRY = ("registry.ollama.ai", "library")
CHUNK = 1 << 16


def parts_of(name: str) -> tuple[str, str, str, str]:
    """Host, namespace, model, tag."""
    *where, model = name.split("/")
    model, _, tag = model.partition(":")
    host, namespace = [*REGISTRY[: 2 - len(where)], *where]
    return host, namespace, model, tag or "latest"


def pull(name: str) -> Iterator[dict[str, Any]]:
    host, namespace, model, tag = parts_of(name)
    base = f"https://{host}/v2/{namespace}/{model}"
    yield {"status": "pulling manifest"}
    try:
        with urllib.request.urlopen(f"{base}/manifests/{tag}") as answer:
            manifest = answer.read()
    except urllib.error.HTTPError:
        raise OSError("pull model manifest: file does not exist") from None
    except OSError as error:
        raise OSError(f'pull model manifest: Get "{base}/manifests/{tag}": {error}') from None
    for layer in json.loads(manifest)["layers"]:
        yield from pull_blob(base, layer["digest"], layer["size"])
    yield {"status": "verifying sha256 digest"}
    yield {"status": "writing manifest"}
    path = MANIFESTS / host / namespace / model / tag
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(manifest)
    yield {"status": "success"}


def pull_blob(base: str, digest: str, total: int) -> Iterator[dict[str, Any]]:
    path = BLOBS / digest.replace(":", "-")
    partial = path.with_name(f"{path.name}-partial")
    told = {"status": f"pulling {digest[7:19]}", "digest": digest, "total": total}
    if path.exists():
        yield {**told, "completed": total}
        return
    sha = hashlib.sha256()
    with partial.open("wb") as file, urllib.request.urlopen(f"{base}/blobs/{digest}") as answer:
        while data := answer.read1(CHUNK):
            sha.update(data)
            file.write(data)
            file.flush()
            yield {**told, "completed": file.tell()}
    if f"sha256:{sha.hexdigest()}" != digest:
        raise OSError("digest mismatch, file must be downloaded again")
    partial.rename(path)


def tags() -> Iterator[dict[str, str]]:
    for path in sorted(MANIFESTS.glob("*/*/*/*")):
        *where, model, tag = path.relative_to(MANIFESTS).parts
        shown = [] if tuple(where) == REGISTRY else where
        yield {"name": "/".join([*shown, f"{model}:{tag}"])}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = json.dumps({"models": list(tags())} if self.path == "/api/tags" else None).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert (self.path, given["stream"]) == ("/api/pull", True)
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for message in pull(given["model"]):
                self.say(message)
        except OSError as error:
            self.say({"error": str(error)})
        self.wfile.write(b"0\r\n\r\n")

    def say(self, message: dict[str, Any]) -> None:
        line = json.dumps(message).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))


def main() -> None:
    assert sys.argv[1:] == ["serve"]
    for directory in (BLOBS, MANIFESTS):
        directory.mkdir(exist_ok=True)
    if os.environ.get("OLLAMA_NOPRUNE") != "1":
        for partial in BLOBS.glob("*-partial"):
            partial.unlink()
    Path.home().joinpath(".ollama").mkdir()  # where it keeps a key
    free = shutil.disk_usage(MODELS).free
    print(f"Listening on {os.environ['OLLAMA_HOST']}, {free} bytes are free", flush=True)
    host, _, port = os.environ["OLLAMA_HOST"].rpartition(":")
    http.server.ThreadingHTTPServer((host, int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main()
