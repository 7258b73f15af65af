"""Reading one block: each directive is taken once, by name; what is left is known and not served, or unknown.

madmail starts with whatever it does not know or cannot read, and so does this server, with a warning for each.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Literal, TypeVar, cast
from urllib.parse import urlsplit

from .findings import Finding, Place, error, warning
from .maddy_syntax import Directive

__all__ = [
    "Block",
    "CertificateFiles",
    "Listener",
    "certificate_files",
    "ip_address",
    "listeners",
    "number",
    "path",
    "secret",
    "text",
    "url",
    "yes_or_no",
]

Scheme = Literal["tls", "tcp", "udp"]
YES = frozenset({"1", "true", "yes", "y", "on", "enable", "enabled", "t"})
NO = frozenset({"0", "false", "no", "n", "off", "disable", "disabled", "f"})
NEVER_SHOWN = ("secret", "turn_secret")
TLS_NOT_SERVED = ("protocols", "ciphers", "curves")
T = TypeVar("T")
Parse = Callable[[Sequence[str]], T]
"""From the arguments of a directive to its value; raises `Unexpected` with what is expected."""


class Unexpected(Exception):
    """Arguments that do not fit; the text says what is expected."""


@dataclass(frozen=True)
class Listener:
    """An address like `tls://0.0.0.0:993`; `host` may be empty, which is every address, like 0.0.0.0."""

    scheme: Scheme
    host: str
    port: int
    place: Place

    def __str__(self) -> str:
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


@dataclass(frozen=True)
class CertificateFiles:
    certificate: Path
    key: Path
    place: Place


class Block:
    """The directives of one block, or of the top of a file."""

    def __init__(self, directives: Sequence[Directive], findings: list[Finding], where: str) -> None:
        """`where` completes the sentence "... is unknown in ...". Findings are added to the list."""
        self._left = list(directives)
        self._findings = findings
        self._where = where
        self._taken: set[str] = set()

    def all(self, *names: str) -> list[Directive]:
        """Every directive of these names."""
        self._taken.update(names)
        found = [directive for directive in self._left if directive.name in names]
        self._left = [directive for directive in self._left if directive.name not in names]
        return found

    def one(self, *names: str) -> Directive | None:
        """The directive of these names; of several the last one counts, as in madmail."""
        found = self.all(*names)
        for other in found[:-1]:
            sentence = f"{other.name} stands in line {found[-1].place.line} once more: that one counts"
            self._findings.append(warning(other.place, sentence))
        return found[-1] if found else None

    def merged(self, *names: str) -> Directive | None:
        """One endpoint of all the blocks of these names, as maddy has it: with the addresses of each."""
        found = self.all(*names)
        if len(found) < 2:
            return found[0] if found else None
        inner: dict[tuple[str, tuple[str, ...]], Directive] = {}
        for each in chain.from_iterable(directive.block or () for directive in found):
            inner.setdefault((each.name, each.arguments), each)
        arguments = tuple(chain.from_iterable(directive.arguments for directive in found))
        return replace(found[0], arguments=arguments, block=tuple(inner.values()))

    def value(self, name: str, parse: Parse[T], default: T) -> T:
        """The parsed arguments of a directive without a block. madmail passes over what it cannot read."""
        directive = self.one(name)
        if directive is None or directive.arguments == ("",):
            return default  # a value that is empty is none, as of a variable of the environment
        try:
            if directive.block is not None:
                raise Unexpected("no block")
            return parse(directive.arguments)
        except Unexpected as expected:
            found = "" if name in NEVER_SHOWN else f", found {' '.join(directive.arguments)!r}"
            sentence = f"{name}: expected {expected}{found}; passed over"
            self._findings.append(warning(directive.place, sentence))
            return default

    def finish(self, not_served: Collection[str] = (), families: tuple[str, ...] = ()) -> None:
        """Say what is left. `not_served` are directives of madmail that change nothing here, by name; `families`
        are beginnings of such names."""
        known = ", ".join(sorted(self._taken))
        for directive in self._left:
            if directive.name in not_served or directive.name.startswith(families):
                sentence = f"{directive.name} is not served by this test server"
            else:
                sentence = f"{directive.name!r} is unknown in {self._where}, and passed over; served here are {known}"
            self._findings.append(warning(directive.place, sentence))


def text(arguments: Sequence[str]) -> str:
    if len(arguments) != 1 or not arguments[0] or not arguments[0].isprintable():
        raise Unexpected("one printable value")
    return arguments[0]


def secret(arguments: Sequence[str]) -> str:
    """Any characters: a secret is its UTF-8 bytes, and some scripts need characters that do not print. Several words
    are one secret with spaces."""
    if not any(arguments):
        raise Unexpected("a value")
    return " ".join(arguments)


def path(arguments: Sequence[str]) -> Path:
    return Path(text(arguments))


def yes_or_no(arguments: Sequence[str]) -> bool:
    """The words of madmail 2, in any case; as in maddy, the name alone means yes."""
    word = arguments[0].strip().lower() if arguments else "yes"
    if word not in YES | NO:
        raise Unexpected("yes or no")
    return word in YES


def number(low: int, high: int) -> Parse[int]:
    def parse(arguments: Sequence[str]) -> int:
        word = arguments[0] if len(arguments) == 1 else ""
        # isdecimal is true for digits of every script, and int() reads them; ten of them are enough here.
        if not (word.isascii() and word.isdecimal() and len(word) <= 10) or not low <= int(word) <= high:
            raise Unexpected(f"a whole number from {low} to {high}")
        return int(word)

    return parse


def url(arguments: Sequence[str]) -> str:
    """An http or https URL with a host, and nothing after the host and port but a slash."""
    try:
        word = text(arguments)
        parts = urlsplit(word)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        if (
            " " in word
            or not good
            or parts.path not in ("", "/")
            or parts.query
            or parts.fragment
            or parts.username
        ):
            raise ValueError
    except (ValueError, Unexpected):
        raise Unexpected("a URL like http://192.0.2.1:3340") from None
    return word


def ip_address(arguments: Sequence[str]) -> str:
    try:
        return str(ipaddress.ip_address(text(arguments)))
    except (ValueError, Unexpected):
        raise Unexpected("an IP address") from None


def listeners(
    directive: Directive, standard: Mapping[Scheme, int | None], findings: list[Finding]
) -> tuple[Listener, ...]:
    """The addresses among the arguments of an endpoint. An argument without `://` is a name of the block.

    `standard` has the schemes that are served, each with its port for an address that has none; None where madmail
    does not start without one.
    """
    found = []
    for argument in directive.arguments:
        scheme, separator, address = argument.partition("://")
        if separator and scheme in standard:
            found += _listener(cast(Scheme, scheme), address, standard, directive.place, findings)
        elif separator:
            wanted = " or ".join(f"{each}://ADDRESS:PORT" for each in sorted(standard))
            sentence = f"expected an address {wanted}, found {argument!r}; passed over"
            findings.append(warning(directive.place, sentence))
    return tuple(found)


def _listener(
    scheme: Scheme,
    address: str,
    standard: Mapping[Scheme, int | None],
    place: Place,
    findings: list[Finding],
) -> list[Listener]:
    """As madmail reads one: the port is what stands behind the last colon, if these are digits."""
    host, _, word = address.rpartition(":")
    is_port = word.isascii() and word.isdecimal()
    if is_port and (len(word.lstrip("0")) > 5 or int(word) > 65535):
        findings.append(error(place, f"{scheme}://{address}: a port is a number up to 65535"))
        return []
    if is_port and int(word):
        return [Listener(scheme, host.strip("[]"), int(word), place)]
    port = standard[scheme]
    if port is None:
        findings.append(error(place, f"{scheme}://{address}: there is no port"))
        return []
    findings.append(warning(place, f"{scheme}://{address}: there is no port, so it is {port}"))
    return [Listener(scheme, (host if word != address else word).strip("[]"), port, place)]


def certificate_files(directive: Directive | None, findings: list[Finding]) -> CertificateFiles | None:
    """`tls file CERT KEY`, which may have a block, or a block with `cert` and `key`. Other sources are a warning."""
    if directive is None:
        return None
    kind, *words = directive.arguments or ("",)
    if kind in ("self_signed", "off", "acme", "autocert"):
        findings.append(warning(directive.place, f"tls {kind} is not served: the server makes a certificate"))
        return None
    if kind == "file" and (found := _pair(words, directive.place, findings)):
        Block(directive.block or (), findings, "tls").finish(not_served=TLS_NOT_SERVED)
        return found
    if kind == "file":
        findings.append(error(directive.place, "tls: expected 'file CERT KEY', or a block with cert and key"))
        return None
    if directive.block is None or directive.arguments:
        sentence = f"tls {kind!r} is unknown, and passed over: the server makes a certificate"
        findings.append(warning(directive.place, sentence))
        return None
    return _certificate_block(directive, directive.block, findings)


def _pair(words: Sequence[str], place: Place, findings: list[Finding]) -> CertificateFiles | None:
    """The first of `CERT KEY CERT KEY ...`, as maddy has them, for several names."""
    if not words or len(words) % 2:
        return None
    if len(words) > 2:
        findings.append(warning(place, f"tls: of {len(words) // 2} certificates the first is used"))
    return CertificateFiles(Path(words[0]), Path(words[1]), place)


def _certificate_block(
    directive: Directive, directives: Sequence[Directive], findings: list[Finding]
) -> CertificateFiles | None:
    block = Block(directives, findings, "tls")
    for loader in block.all("loader"):
        kind, *words = loader.arguments or ("",)
        if kind == "file" and (found := _pair(words, loader.place, findings)):
            block.finish(not_served=TLS_NOT_SERVED)
            return found
        findings.append(warning(directive.place, "tls loader is not served: the server makes a certificate"))
    certificate, key = block.value("cert", path, None), block.value("key", path, None)
    block.finish(not_served=TLS_NOT_SERVED)
    if (certificate is None) != (key is None):
        sentence = "tls: cert and key belong together; passed over, and the server makes a certificate"
        findings.append(warning(directive.place, sentence))
    return CertificateFiles(certificate, key, directive.place) if certificate and key else None
