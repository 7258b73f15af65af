"""Certificates for a purpose: expired, of another name, or signed by somebody whom nobody knows."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from reference_server.tls import key_usage

__all__ = ["Authority", "Issued"]

DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Issued:
    """PEM files."""

    chain: Path
    key: Path


class Authority:
    """A CA of which a site's clients have the certificate, or have it not."""

    def __init__(self, name: str, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self._certificate = self._sign(self._name, self._key, (-30, 365), ca=True)
        self.file = directory / f"{name.replace(' ', '-')}.pem"
        """Its own certificate."""
        self.file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, *names: str, days: tuple[int, int] = (-1, 30)) -> Issued:
        """A certificate for names and addresses, valid from and to so many days from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
        certificate = self._sign(subject, key, days, names=names)
        stem = self._directory / f"certificate-{certificate.serial_number:x}"
        issued = Issued(stem.with_suffix(".pem"), stem.with_suffix(".key"))
        pem = serialization.Encoding.PEM
        issued.chain.write_bytes(certificate.public_bytes(pem) + self._certificate.public_bytes(pem))
        issued.key.touch(mode=0o600)
        issued.key.write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        return issued

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        days: tuple[int, int],
        *,
        names: Sequence[str] = (),
        ca: bool = False,
    ) -> x509.Certificate:
        now, (first, last) = datetime.datetime.now(datetime.UTC), days
        of_authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + first * DAY)
            .not_valid_after(now + last * DAY)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(of_authority, critical=False)
            .add_extension(key_usage(sign_certificates=ca), critical=True)
        )
        if names:
            server = x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH])
            alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
            builder = builder.add_extension(server, critical=False).add_extension(
                alternatives, critical=False
            )
        return builder.sign(self._key, hashes.SHA256())


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
