"""Certificates of a port: who vouches for them, for which names, for how long."""

from __future__ import annotations

import ssl
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from ..errors import plain
from ..hosts import Host, Socket
from ..report.looks import CertificateLook
from ..text import clean
from .packets import counted_tls

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["public_roots", "shake_hands", "unverified"]

Problem: TypeAlias = Literal["", "expired", "not yet valid", "wrong name", "untrusted"]

EXPIRED, NOT_YET, WRONG_NAME = 10, 9, (62, 64)
"""Numbers of OpenSSL (X509_V_ERR_...)."""
SHOWN = 100
MOST_NAMES = 8
DAY = 86400


def public_roots() -> ssl.SSLContext:
    """TLS settings that trust what iroh trusts: Mozilla's roots, whatever this machine has besides."""
    import certifi  # noqa: PLC0415 - needed for https relays alone

    return counted_tls(ssl.create_default_context(cafile=certifi.where()))


def unverified() -> ssl.SSLContext:
    """TLS settings that accept any certificate, to see what lies behind one that was judged by itself."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return counted_tls(context)


def shake_hands(
    host: Host, connection: Socket, look: CertificateLook, trust: ssl.SSLContext, *, within: float
) -> tuple[ssl.SSLSocket | None, CertificateLook | None, str]:
    """A session over `connection`, the certificate that was shown as `trust` judges it, and what is wrong besides it.

    `look` says whose certificate it must be. One that is not accepted is shown again over a second connection, which
    is the session then. Without TLS there is neither, and the text says what came instead.
    """
    problem: Problem = ""
    detail = ""
    for context in (trust, unverified()):
        try:
            connection.settimeout(within)
            session = context.wrap_socket(connection, server_hostname=look.host.rstrip("."))
            return (
                session,
                _described(look, session.getpeercert(binary_form=True) or b"", problem, detail),
                "",
            )
        except ssl.SSLCertVerificationError as error:
            problem, detail = _problem(error.verify_code), clean(error.verify_message, SHOWN)
            connection.close()
            try:
                connection = host.connect(look.address, look.port, within=within)
            except OSError as gone:
                return None, replace(look, problem=problem, detail=detail), plain(gone)
        except (OSError, ValueError) as error:
            connection.close()
            return None, None, plain(error) if isinstance(error, OSError) else "TLS takes no such name"
    return None, replace(look, problem=problem, detail=detail), "TLS failed"


def _problem(code: int) -> Problem:
    if code in WRONG_NAME:
        return "wrong name"
    return "expired" if code == EXPIRED else "not yet valid" if code == NOT_YET else "untrusted"


def _described(look: CertificateLook, shown: bytes, problem: Problem, detail: str) -> CertificateLook:
    from cryptography import x509  # noqa: PLC0415 - slow to load

    look = replace(look, problem=problem, detail=detail)
    try:
        certificate = x509.load_der_x509_certificate(shown)
        days = (certificate.not_valid_after_utc.timestamp() - time.time()) / DAY
        if problem and days < 0:
            # Whatever else is wrong with it, that has to be mended first.
            look = replace(look, problem="expired")
        return replace(
            look,
            names=_names(certificate),
            issuer=_common_name(certificate.issuer),
            days_left=round(days, 1),
            self_signed=certificate.issuer == certificate.subject,
        )
    except ValueError:  # no certificate as X.509 has it
        return look


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    from cryptography import x509  # noqa: PLC0415

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return (_common_name(certificate.subject),)
    found = [str(each.value) for each in names if isinstance(each, x509.DNSName | x509.IPAddress)]
    return tuple(clean(each, SHOWN) for each in found[:MOST_NAMES])


def _common_name(name: x509.Name) -> str:
    from cryptography.x509.oid import NameOID  # noqa: PLC0415

    found = name.get_attributes_for_oid(NameOID.COMMON_NAME) or name.get_attributes_for_oid(
        NameOID.ORGANIZATION_NAME
    )
    return clean(str(found[0].value), SHOWN) if found else ""
