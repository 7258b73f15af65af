"""Trust of a browser in certificates that the system does not know: CAs of a server under test, or pinned ones."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from ...hosts import LocalHost
from ...text import clean

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = ["trust"]

DATABASE = ".pki/nssdb"
"""Below a user's home: where Chromium on Linux finds the CAs of that user (NSS)."""
TRUSTED_CA = "C,,"
LONGEST, LONGEST_REASON = 30.0, 300
"""Seconds for one change of the database, and letters of what certutil says."""


def trust(home: Path, ca_file: Path, certutil: str) -> list[str]:
    """Make a home trust these certificates, and return the flags of Chromium that belong to it.

    A CA is trusted by the database of NSS, which `certutil` writes. A pinned certificate is of no CA and of any name:
    it is trusted by its key, wherever a server shows it. Raises `OSError` and `subprocess.SubprocessError`.
    """
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415
    from cryptography.x509 import load_pem_x509_certificates  # noqa: PLC0415 - slow to load

    database = home / DATABASE
    database.mkdir(parents=True)
    change = (certutil, "-d", f"sql:{database}")
    _run(*change, "-N", "--empty-password")
    certificates = load_pem_x509_certificates(ca_file.read_bytes())
    for number, each in enumerate(certificates):
        _run(
            *change, "-A", "-n", f"trusted {number}", "-t", TRUSTED_CA, given=each.public_bytes(Encoding.DER)
        )
    return [f"--ignore-certificate-errors-spki-list={','.join(map(_hash_of_key, certificates))}"]


def _run(*command: str, given: bytes = b"") -> None:
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with LocalHost().popen(command, **pipes) as process:
        _, said = process.communicate(given, timeout=LONGEST)
    if process.returncode:
        raise OSError(clean(said.decode(errors="replace"), LONGEST_REASON))


def _hash_of_key(certificate: Certificate) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(key).digest()).decode()
