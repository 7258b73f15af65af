"""A certificate for one program of a server, from a CA of our own whose key nobody keeps."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Certificate", "issue"]

VALID_FOR = datetime.timedelta(days=30)
CLOCKS_DIFFER = datetime.timedelta(hours=1)


@dataclass(frozen=True)
class Certificate:
    """PEM files: the certificate, its key, and the CA that signed it."""

    chain: Path
    key: Path
    ca: Path


def issue(directory: Path, names: Sequence[str], *, valid_for: datetime.timedelta = VALID_FOR) -> Certificate:
    """Write a new CA and a certificate that is valid for these names and addresses into `directory`."""
    from cryptography import x509  # noqa: PLC0415 - slow to load, and most runs need no certificate
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    now = datetime.datetime.now(datetime.UTC)
    ca_key, own_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "dc-harness test CA")])
    own_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])

    def builder(
        subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, is_ca: bool
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCKS_DIFFER)
            .not_valid_after(now + valid_for)
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=0 if is_ca else None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
            )
        )

    usage = {
        "digital_signature": True,
        "content_commitment": False,
        "key_encipherment": False,
        "data_encipherment": False,
        "key_agreement": False,
        "key_cert_sign": False,
        "crl_sign": False,
        "encipher_only": False,
        "decipher_only": False,
    }
    ca = (
        builder(ca_name, ca_key, is_ca=True)
        .add_extension(x509.KeyUsage(**{**usage, "key_cert_sign": True}), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    own = (
        builder(own_name, own_key, is_ca=False)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    found = Certificate(directory / "chain.pem", directory / "key.pem", directory / "ca.pem")
    found.ca.write_bytes(ca.public_bytes(pem))
    found.chain.write_bytes(own.public_bytes(pem) + ca.public_bytes(pem))
    found.key.touch(mode=0o600)
    found.key.write_bytes(
        own_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return found


def _general_name(name: str):  # type: ignore[no-untyped-def]  # noqa: ANN202
    from cryptography import x509  # noqa: PLC0415

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
