"""The certificates that the host trusts, including a company's own, for programs in sandboxes."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

__all__ = ["bundle_files", "certificate_bundle"]

VARIABLES = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
    "AWS_CA_BUNDLE",
)
"""A user names a bundle to the host's programs by these."""

PLACES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, Red Hat
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # Alpine, macOS
)

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


def bundle_files(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Paths of the certificate files: those that the environment names, and the system's own."""
    named = [environ[name] for name in VARIABLES if environ.get(name)]
    paths = [path for path in dict.fromkeys((*named, *PLACES)) if _certificates(path)]
    seen: dict[tuple[bytes, ...], str] = {}
    for path in paths:  # most are links to one file
        seen.setdefault(_certificates(path), path)
    return tuple(seen.values())


def certificate_bundle(paths: Iterable[str], *more: bytes) -> bytes:
    """One PEM text of the certificates in these files and in the PEM texts ``more``, each once."""
    certificates = [certificate for path in paths for certificate in _certificates(path)]
    certificates += [certificate for text in more for certificate in _CERTIFICATE.findall(text)]
    return b"".join(certificate + b"\n" for certificate in dict.fromkeys(certificates))


def _certificates(path: str) -> tuple[bytes, ...]:
    """Empty where the file is missing or cannot be read."""
    try:
        status = Path(path).stat()
        return _read(path, status.st_mtime_ns, status.st_size)
    except OSError:
        return ()


@functools.lru_cache(maxsize=32)
def _read(path: str, changed: int, size: int) -> tuple[bytes, ...]:
    # Splitting 200 KB at each start would take longer than the rest of a plan.
    return tuple(dict.fromkeys(_CERTIFICATE.findall(Path(path).read_bytes())))
