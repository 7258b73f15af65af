"""Server-side TLS settings of a certificate and its key, and the words for a pair that cannot be used."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from .errors import ConfigurationError

__all__ = ["pair_problem", "server_tls"]


def server_tls(certificate: Path, key: Path) -> ssl.SSLContext:
    """Settings with this certificate, TLS 1.2 and newer. Raises `ConfigurationError` that names the files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    problem = _load(context, certificate, key)
    if problem:
        raise ConfigurationError(f"cannot use the certificate {certificate} with the key {key}: {problem}")
    return context


def pair_problem(certificate: Path, key: Path) -> str:
    """Why no server can use the pair, both of which are files; empty if one can."""
    return _load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), certificate, key)


def _load(context: ssl.SSLContext, certificate: Path, key: Path) -> str:
    missing = next((path for path in (certificate, key) if not path.is_file()), None)
    if missing is not None:
        return f"there is no file {missing}"
    asked: list[str] = []

    def password() -> str:  # OpenSSL would ask for it at the terminal
        asked.append("password")
        return ""

    try:
        context.load_cert_chain(certificate, key, password)
    except ssl.SSLError as error:
        if asked:
            return "the key has a password"
        if error.reason == "KEY_VALUES_MISMATCH":
            return "the key does not belong to the certificate"
        return "they are not a certificate and a key in PEM form"
    except OSError as error:
        return os.strerror(error.errno) if error.errno else "they cannot be read"
    return ""
