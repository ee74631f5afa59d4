"""Intercepts TLS for rules with methods or paths, by an authority made for one sandbox.

The sandbox trusts the authority's certificate; the private key stays in the launcher's run
directory. The proxy shows the sandbox a certificate of the authority for the requested host, and
checks the host's own as any client does.

Only this module imports ``cryptography``, the extra ``moat-nb[intercept]``.
"""

from __future__ import annotations

import datetime
import os
import ssl
import tempfile
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from moat_nb.egress.options import Interception

__all__ = ["Interceptor", "make_authority"]

_DAYS = 365
"""The clients in an older sandbox refuse the certificate; no sandbox lived so long yet."""
_CLOCK_SKEW = datetime.timedelta(hours=1)
_HOSTS = 256
"""Certificates kept; a rule such as ``*.example.com`` matches any number of names."""


def make_authority(directory: Path) -> Interception:
    """A new authority's certificate and key in ``directory``, the key readable by its owner."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _sign("moat-nb: this sandbox's authority", key, None, key)
    paths = directory / "authority.pem", directory / "authority.key"
    _write(paths[0], _pem(certificate), 0o644)
    _write(paths[1], _key_pem(key), 0o600)
    return Interception(certificate=str(paths[0]), key=str(paths[1]))


class Interceptor:
    """TLS contexts for both ends of an intercepted connection: the sandbox's and the host's.

    ``trust``: path of the authorities (PEM) for hosts; None: OpenSSL's own.
    """

    def __init__(self, files: Interception, trust: str | None) -> None:
        key = load_pem_private_key(Path(files.key).read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._authority_key = key
        self._authority = x509.load_pem_x509_certificate(Path(files.certificate).read_bytes())
        self._directory = Path(files.key).parent
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.to_host = ssl.create_default_context(cafile=trust)
        self.to_host.set_alpn_protocols(["http/1.1"])
        self.for_sandbox = lru_cache(_HOSTS)(self._for_sandbox)

    def _for_sandbox(self, host: str) -> ssl.SSLContext:
        """The sandbox's context for ``host``; HTTP/1.1 only, which all clients fall back to."""
        certificate = _sign(host, self._key, self._authority, self._authority_key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        # OpenSSL's Python binding reads certificates from files only.
        with tempfile.NamedTemporaryFile(dir=self._directory) as file:
            file.write(_pem(certificate) + _key_pem(self._key))
            file.flush()
            context.load_cert_chain(file.name)
        return context


def _sign(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate | None,
    authority_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    """A certificate for the host ``name``; without an ``authority``, a self-signed one.

    Python 3.13 and macOS require each of these extensions.
    """
    now = datetime.datetime.now(datetime.timezone.utc)
    # A common name has 64 characters at most; clients read the alternative name.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.subject if authority else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + datetime.timedelta(days=_DAYS))
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), True)
        .add_extension(_usage(authority is None), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    )
    if authority is not None:
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
        builder = (
            builder.add_extension(issuer, False)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
        )
    return builder.sign(authority_key, hashes.SHA256())


def _usage(authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write(path: Path, data: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
