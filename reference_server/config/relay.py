"""iroh-relay.toml as one of a server's files: read by the relay's own reader, with the line of each finding."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ..addresses import STUN_PORT
from ..iroh_relay.config import RelayConfig, SocketAddress
from ..iroh_relay.config import load as load_relay
from ..service import ConfigurationError
from .findings import Place, error

__all__ = ["RelayFile", "load"]

UNSPECIFIED = re.compile(
    r"""\b((?:http|https|stun|metrics|quic)_bind_addr\s*=\s*["'])(?:\[::\]|0\.0\.0\.0)(?=:\d)"""
)
AT_LINE = re.compile(r"\(at line (\d+), column \d+\)")


@dataclass(frozen=True)
class RelayFile:
    """One iroh-relay.toml: the text as it stands, and what the relay makes of it."""

    file: str
    text: str
    config: RelayConfig

    def place(self, key: str) -> Place:
        """Where a key stands; the file's first line where it does not."""
        return Place(self.file, _line(self.text, key))

    def text_for(self, host: str) -> str:
        """The file for a server that lives on one address: every address, `[::]` or `0.0.0.0`, becomes that one."""
        bracketed = f"[{host}]" if ":" in host else host
        return UNSPECIFIED.sub(lambda found: found[1] + bracketed, self.text)

    def url(self, host: str) -> str | None:
        """What METADATA has to say for a relay on `host`; None when the relay is switched off."""
        config = self.config
        if not config.enable_relay:
            return None
        if config.tls is not None:
            return f"https://{_on(host, config.tls.https_bind_addr)}"
        return f"http://{_on(host, config.http_bind_addr)}"

    def answers_stun_on(self, host: str) -> bool:
        """Whether it answers where iroh 0.35 asks: on UDP 3478 of the server's address."""
        address = _on(host, self.config.stun_bind_addr)
        return self.config.enable_stun and address == SocketAddress(host, STUN_PORT)


def _on(host: str, address: SocketAddress) -> SocketAddress:
    return address._replace(host=host) if is_unspecified(address.host) else address


def is_unspecified(host: str) -> bool:
    return host in ("", "0.0.0.0", "::")  # noqa: S104 - compared, not listened on


def load(path: Path) -> RelayFile:
    """Raises `ConfigurationError` with `file:line`, and `OSError` when there is nothing to read."""
    raw = path.read_bytes()
    try:
        config = load_relay(path)
    except ConfigurationError as wrong:
        sentence = str(wrong).removeprefix(f"{path}: ")
        raise ConfigurationError(str(error(_place(path, raw, sentence), sentence))) from None
    return RelayFile(str(path), raw.decode(), config)


def _place(path: Path, raw: bytes, sentence: str) -> Place:
    """The relay's reader names a line where the file is no TOML, and a key (`access.http.url: ...`) where it is."""
    if at := AT_LINE.search(sentence):
        return Place(str(path), int(at[1]))
    key = sentence.partition(":")[0].rpartition(".")[2]
    return Place(str(path), _line(raw.decode(errors="replace"), key))


def _line(text: str, key: str) -> int:
    stands = re.compile(rf"""\s*["']?(?:[\w.]*\.)?{re.escape(key)}["']?\s*=""")
    return next((n for n, line in enumerate(text.split("\n"), 1) if stands.match(line)), 1)
