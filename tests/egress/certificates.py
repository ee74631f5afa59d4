"""An authority of the test's, and one certificate for all of its hosts."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_USES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
    *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)
Key = ec.EllipticCurvePrivateKey


def write_authority(directory: Path, hosts: Sequence[str]) -> tuple[Path, Path]:
    """Paths of the authority's certificate, and of the hosts' with its key, both PEM."""
    key, host_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _sign("the test's authority", key, key, "the test's authority", None)
    host = _sign("the test's hosts", host_key, key, "the test's authority", hosts)
    paths = directory / "hosts-authority.pem", directory / "hosts.pem"
    paths[0].write_bytes(authority.public_bytes(Encoding.PEM))
    private = host_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    paths[1].write_bytes(host.public_bytes(Encoding.PEM) + private)
    return paths


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _sign(
    name: str, key: Key, issuer_key: Key, issuer: str, hosts: Sequence[str] | None
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=hosts is None, path_length=None), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False
        )
    )
    if hosts is None:
        # Python 3.13 wants it of an authority.
        usage = dict.fromkeys(_USES, False) | {"key_cert_sign": True}
        builder = builder.add_extension(x509.KeyUsage(**usage), True)
    else:
        builder = builder.add_extension(x509.SubjectAlternativeName(map(_name, hosts)), False)
    return builder.sign(issuer_key, hashes.SHA256())
