"""No password, HMAC, `dclogin:` secret or key reaches a run directory: every artifact passes through here."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from ..text import clean

__all__ = ["REDACTED", "Redactor"]

REDACTED = "[redacted]"
_DCLOGIN_PASSWORD = re.compile(r"(dclogin:[^\s\"']*?[?&]p=)[^&\s\"']+")


class Redactor:
    """Knows the secrets that a run used and takes them out of text."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = set(secrets)

    def add(self, secret: str) -> None:
        """Remember a secret. Short ones are refused: replacing them would mangle the text."""
        if len(secret) < 8:
            raise ValueError("a secret of fewer than 8 characters cannot be redacted")
        self._secrets.add(secret)

    @property
    def secrets(self) -> frozenset[str]:
        return frozenset(self._secrets)

    def text(self, text: str) -> str:
        """The text without any secret: plain, percent-encoded, as JSON has it, and as text is cleaned."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            for form in _forms(secret):
                text = text.replace(form, REDACTED)
        return _DCLOGIN_PASSWORD.sub(rf"\1{REDACTED}", text)

    def file(self, file: Path) -> None:
        """Redact a file in place, whatever bytes it has."""
        before = file.read_bytes()
        after = self.text(before.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        if after != before:
            file.write_bytes(after)

    def tree(self, directory: Path) -> None:
        """Redact every file below a directory in place (logs that other programs wrote)."""
        for file in directory.rglob("*"):
            if file.is_file() and not file.is_symlink():
                self.file(file)


@functools.lru_cache(maxsize=1024)
def _forms(secret: str) -> tuple[str, ...]:
    """Ways in which it is written: asked for at each line of a log."""
    return tuple(dict.fromkeys((secret, quote(secret, safe=""), json.dumps(secret)[1:-1], clean(secret))))
