"""Kubernetes' programs for the tests' cluster, which are made once and kept."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

HERE = Path(__file__).parent
PAUSE = "moat-nb-test/pause:1"
"""What holds a pod's namespaces."""


def programs(cache: Path) -> Path:
    """The directory in ``cache`` where they are, and ``pause.tar``, an image."""
    made = cache / "kubernetes"
    if not made.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["sh", str(HERE / "build.sh"), str(made)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    if not (made / "pause.tar").exists():
        _write_image(made / "pause", made / "pause.tar")
    return made


def _write_image(program: Path, to: Path) -> None:
    """An image with that program alone, as `docker save` writes it."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.add(program, "pause")
    system = {"architecture": _architecture(), "os": "linux"}
    config = {**system, "config": {"Cmd": ["/pause"]}, "rootfs": {"type": "layers"}}
    config["rootfs"]["diff_ids"] = [_digest(layer.getvalue())]
    manifest = [{"Config": "config.json", "RepoTags": [PAUSE], "Layers": ["layer.tar"]}]
    parts = {
        "layer.tar": layer.getvalue(),
        "config.json": json.dumps(config).encode(),
        "manifest.json": json.dumps(manifest).encode(),
    }
    with tarfile.open(to, "w") as tar:
        for name, data in parts.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def _digest(data: bytes) -> str:
    import hashlib

    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
