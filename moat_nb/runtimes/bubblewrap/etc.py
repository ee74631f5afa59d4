"""What programs below /usr need of the host's /etc, and links into it that lead nowhere inside."""

from __future__ import annotations

import os
import posixpath
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from moat_nb.planning.mounts import is_within

__all__ = ["dangling", "remarks", "shown"]

_SHOWN = (
    *("alternatives", "bash.bashrc", "ca-certificates", "crypto-policies", "fonts", "ghostscript"),
    *("groff", "host.conf", "inputrc", "ld.so.cache", "ld.so.conf", "ld.so.conf.d"),
    *("locale.alias", "localtime", "magic", "mailcap", "mime.types", "nsswitch.conf"),
    *("os-release", "paperspecs", "papersize", "protocols", "sensors3.conf", "services"),
    *("terminfo", "timezone", "vim", "X11/rgb.txt"),
    # Languages and libraries whose own directories are links to there.
    *("java", "java-*", "jvm-*", "julia", "maven/m2.conf", "maven/logging", "octave*", "perl"),
    *("python3*", "R", "sgml", "texmf", "xml"),
    *("glvnd", "ImageMagick-*", "OpenCL", "openmpi*", "pango", "vulkan"),
    *("pki/ca-trust", "pki/java", "pki/tls/cert.pem", "pki/tls/certs", "pki/tls/openssl.cnf"),
    *("ssl/cert.pem", "ssl/certs", "ssl/openssl.cnf"),
)
"""Names and globs. None of it is secret, and no key lies in it; so not all of `maven`, whose
`settings.xml` may have passwords."""

_KEPT = ("environment", "ssl/private", "shadow", "gshadow", "sudoers", "sudoers.d", "ssh", "wgetrc")
"""Not shown on purpose, so nobody is told of a link to there."""

_NOT_ENTERED = {"man", "doc", "locale", "include", "src", "games", "__pycache__", "icons"}
MAX_ENTRIES = 400_000
MAX_SECONDS = 5.0


def shown(etc: str = "/etc") -> Iterator[str]:
    """The paths that are there."""
    for name in _SHOWN:
        if "*" in name:
            yield from map(str, sorted(Path(etc).glob(name)))
        elif Path(etc, name).exists():
            yield f"{etc}/{name}"


def remarks(seen: Sequence[str]) -> Iterator[str]:
    """Of the links that :func:`dangling` finds: for who looks at a plan, as it takes a second."""
    if found := dangling(seen):
        named = ", ".join(f"{path} (by {link})" for path, link in found.items())
        example = next(iter(found))
        yield (
            f"links of programs lead to what is not shown inside: {named}; what needs it has it by "
            f'mounts: ["{example}:{example}:ro"]'
        )


def dangling(seen: Sequence[str], top: str = "/usr", etc: str = "/etc") -> dict[str, str]:
    """Links below ``top`` to what is there in ``etc`` and not among ``seen``, by the name in
    ``etc``; bounded."""
    found: dict[str, str] = {}
    kept = [f"{etc}/{name}" for name in _KEPT]
    for link, target in _links(top):
        there = posixpath.normpath(posixpath.join(posixpath.dirname(link), target))
        if not there.startswith(f"{etc}/") or is_within(there, *seen, *kept):
            continue
        name = there[len(etc) + 1 :].partition("/")[0]
        if os.access(there, os.R_OK):
            found.setdefault(f"{etc}/{name}", link)
    return found


def _links(top: str) -> Iterator[tuple[str, str]]:
    give_up, left = time.monotonic() + MAX_SECONDS, MAX_ENTRIES
    pending = [top]
    while pending and left > 0 and time.monotonic() < give_up:
        try:
            entries = list(os.scandir(pending.pop()))
        except OSError:
            continue
        left -= len(entries)
        for entry in entries:
            if entry.is_symlink():
                yield entry.path, os.readlink(entry.path)  # noqa: PTH115 - text in, text out
            elif entry.is_dir(follow_symlinks=False) and entry.name not in _NOT_ENTERED:
                pending.append(entry.path)
