"""iroh-relay.toml as one of a server's files: read by the relay's own reader, with the line of each finding."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ..addresses import STUN_PORT, is_unspecified
from ..errors import ConfigurationError
from ..iroh_relay.config import MAX_FILE, RelayConfig, SocketAddress, parse
from .findings import Finding, Place, error, warning

__all__ = ["RelayFile", "load"]

UNSPECIFIED = re.compile(
    r"""\b((?:http|https|stun|metrics|quic)_bind_addr\s*=\s*["'])(?:\[::\]|0\.0\.0\.0)(?=:\d)"""
)
SECRET = ("bearer_token", "shared_token")
TABLE = re.compile(r"\s*\[\[?([^\[\]#]+)\]")
KEY = re.compile(r"\s*([\w.\"'\- ]+?)\s*=")
AT_LINE = re.compile(r"\(at line (\d+), column \d+\)")


@dataclass(frozen=True)
class RelayFile:
    """One iroh-relay.toml: the text as it stands, and what the relay makes of it."""

    file: str
    text: str = field(repr=False)
    config: RelayConfig
    findings: tuple[Finding, ...] = ()

    def place(self, key: str) -> Place:
        """Place of a key; that of the file's first line if the key is missing."""
        return Place(self.file, _line(self.text, key))

    def text_for(self, host: str) -> str:
        """The file for a server that lives on one address: every address, `[::]` or `0.0.0.0`, becomes that one."""
        bracketed = f"[{host}]" if ":" in host else host
        return UNSPECIFIED.sub(lambda found: found[1] + bracketed, self.text)

    def url(self, host: str) -> str | None:
        """The URL that METADATA has to name for a relay on `host`; None when the relay is switched off."""
        config = self.config
        if not config.enable_relay:
            return None
        if config.tls is not None:
            return f"https://{_on(host, config.tls.https_bind_addr)}"
        return f"http://{_on(host, config.http_bind_addr)}"

    def answers_stun_on(self, host: str) -> bool:
        """True when it answers where iroh 0.35 asks: on UDP 3478 of the server's address."""
        address = _on(host, self.config.stun_bind_addr)
        return self.config.enable_stun and address == SocketAddress(host, STUN_PORT)


def _on(host: str, address: SocketAddress) -> SocketAddress:
    return address._replace(host=host) if is_unspecified(address.host) else address


def load(path: Path) -> RelayFile:
    """Raises `ConfigurationError` with `file:line`, and `OSError` when there is nothing to read."""
    with path.open("rb") as file:  # once: it may be a pipe
        raw = file.read(MAX_FILE + 1)
    text = raw.decode(errors="replace")
    with _warnings() as warned:
        try:
            config = parse(raw, str(path))
        except ConfigurationError as wrong:
            problems = [error(*_located(each, path, text)) for each in str(wrong).split("\n")]
            problems += [warning(*_located(each, path, text)) for each in warned]
            lines = map(str, sorted(problems, key=lambda each: each.place))
            raise ConfigurationError("\n".join(lines)) from None
    return RelayFile(str(path), text, config, tuple(warning(*_located(each, path, text)) for each in warned))


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """The relay's reader logs its warnings; here they are findings like any other."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger(parse.__module__)
    logger.addHandler(handler)
    propagate, logger.propagate = logger.propagate, False
    try:
        yield messages
    finally:
        logger.propagate = propagate
        logger.removeHandler(handler)


def _located(message: str, path: Path, text: str) -> tuple[Place, str]:
    """The relay's reader names a line where the file is no TOML, and a key (`access.http.url ...`) where it is."""
    sentence = message.removeprefix(f"{path}: ")
    if at := AT_LINE.search(sentence):
        return Place(str(path), int(at[1])), sentence
    key = re.split(r"[:\s]", sentence, maxsplit=1)[0]
    if key.rpartition(".")[2] in SECRET:
        sentence = sentence.partition(", found")[0]
    return Place(str(path), _line(text, key)), sentence


def _line(text: str, key: str) -> int:
    """Line of a key, as `access.http.url`, or of the table nearest to it; 1 without any.

    A key without dots may stand in any table, when it stands in none.
    """
    lines = dict(_keys(text))
    wanted = tuple(key.split("."))
    while wanted:
        if wanted in lines:
            return lines[wanted]
        anywhere = next((line for path, line in lines.items() if path[-1:] == wanted), None)
        if anywhere is not None:
            return anywhere
        wanted = wanted[:-1]
    return 1


def _keys(text: str) -> Iterator[tuple[tuple[str, ...], int]]:
    """Each key and each table of a file with its line; what an inline table has is in the line of its key."""
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.split("\n"), 1):
        if header := TABLE.match(line):
            table = _parts(header[1])
            yield table, number
        elif assigned := KEY.match(line):
            yield (*table, *_parts(assigned[1])), number


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip(" \t\"'") for part in dotted.split("."))
