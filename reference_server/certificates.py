"""Paths of the files of a certificate. `tls` makes them; this module is quick to load."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["DevelopmentCertificate"]


@dataclass(frozen=True)
class DevelopmentCertificate:
    """Files in PEM form; `certificate_file` holds the chain without the CA."""

    ca_file: Path
    certificate_file: Path
    key_file: Path

    @classmethod
    def of(cls, directory: Path) -> DevelopmentCertificate:
        """The files in `directory`, made or not."""
        return cls(directory / "ca.pem", directory / "cert.pem", directory / "key.pem")
