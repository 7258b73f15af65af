"""A certificate authority for one test server, whose key is thrown away after it has signed one certificate.

Clients verify with `ca.pem`; nobody can issue a second certificate that they would believe.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .certificates import DevelopmentCertificate

__all__ = ["issue_development_certificate", "key_usage"]

VALIDITY = datetime.timedelta(days=90)
CLOCK_SKEW = datetime.timedelta(hours=1)


def issue_development_certificate(directory: Path, names: Sequence[str]) -> DevelopmentCertificate:
    """Return the certificate for `names` (IP addresses and DNS names) in `directory`, made at first use.

    One that exists, is still valid and names the same hosts is used again, so that clients of a restarted
    server need no new CA.
    """
    files = DevelopmentCertificate.of(directory)
    wanted = [_general_name(name) for name in names]
    if not _usable(files, wanted):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        _issue(files, wanted)
    return files


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usable(files: DevelopmentCertificate, wanted: Sequence[x509.GeneralName]) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(files.certificate_file.read_bytes())
        authority = x509.load_pem_x509_certificate(files.ca_file.read_bytes())
        certificate.verify_directly_issued_by(authority)
        key = serialization.load_pem_private_key(files.key_file.read_bytes(), None)
        named = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, TypeError, x509.ExtensionNotFound):
        return False
    tomorrow = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    return (
        list(named) == list(wanted)
        and certificate.not_valid_after_utc > tomorrow
        and key.public_key() == certificate.public_key()
    )


def _issue(files: DevelopmentCertificate, names: Sequence[x509.GeneralName]) -> None:
    authority_key = ec.generate_private_key(ec.SECP256R1())  # never leaves this function
    authority_name = _name("dc-harness test authority")
    authority = (
        _builder(authority_name, authority_name, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(sign_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(_name("dc-harness test server"), authority_name, key.public_key())
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
        )
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    files.ca_file.write_bytes(authority.public_bytes(pem))
    files.certificate_file.write_bytes(certificate.public_bytes(pem))
    files.key_file.touch(mode=0o600)
    files.key_file.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + VALIDITY)
    )


def key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    """That of a CA, or of a server."""
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
