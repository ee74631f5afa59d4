"""Where programs keep keys and passwords of a user: seldom what a sandbox was meant to have."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from moat_nb.planning.mounts import is_below, is_within

__all__ = ["SECRET_PLACES", "secret_place"]

SECRET_PLACES = (
    *(".aws", ".azure", ".docker", ".gnupg", ".kube", ".oci", ".password-store", ".ssh"),
    *(".config/containers", ".config/doctl", ".config/gcloud", ".config/gh", ".config/git"),
    *(".config/glab-cli", ".config/hub", ".config/op", ".config/rclone", ".config/sops"),
    *(".git-credentials", ".gitconfig", ".netrc", ".npmrc", ".pgpass", ".my.cnf", ".pypirc"),
    *(".cargo/credentials", ".cargo/credentials.toml", ".gem/credentials", ".terraform.d"),
    *(".config/pip", ".pip", ".condarc", ".yarnrc.yml", ".m2/settings.xml", ".vault-token"),
    *(".huggingface", ".cache/huggingface/token", ".kaggle", ".s3cfg", ".boto", ".databrickscfg"),
    *(".mozilla", ".thunderbird", ".config/google-chrome", ".config/chromium"),
    *(".local/share/keyrings", ".local/share/jupyter/runtime", ".jupyter", ".config/systemd"),
    *("Library/Keychains", "Library/Application Support/Google/Chrome"),
)
"""Relative to a home directory: anybody's, as root may mount another user's."""

SYSTEM_PLACES = ("/etc/shadow", "/etc/gshadow", "/etc/ssh", "/etc/ssl/private", "/etc/sudoers.d")


def secret_place(source: str, home: Path) -> str:
    """The place of keys that ``source`` is, lies in or holds; empty when it is none.

    It looks at the host.
    """
    if not source:
        return ""
    parts = PurePosixPath(source).parts
    for place in SECRET_PLACES:
        words = tuple(place.split("/"))
        if any(parts[i : i + len(words)] == words for i in range(1, len(parts))):
            return place
        for path in (f"{source}/{place}", f"{os.path.realpath(home)}/{place}"):
            if is_below(path, source) and os.path.lexists(path):
                return path
    for path in SYSTEM_PLACES:
        if is_within(source, path) or is_below(path, source):
            return path
    return ""
