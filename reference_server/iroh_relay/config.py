"""iroh-relay.toml: the file of iroh-relay, 0.35 to 1.x, read into frozen settings.

As with upstream, a value of the wrong kind is an error, and an unknown key is passed over; here with a warning, for it
may be a known one with a mistake. Of upstream's settings two are not served: a certificate from Let's Encrypt (an
error: nothing would work without it), and QUIC address discovery and limits on accepting (a warning). The table
`[reference_server]` is our own, where unknown keys are errors; upstream ignores it.
"""

from __future__ import annotations

import ipaddress
import logging
import math
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from ..errors import ConfigurationError
from .access import Access, Allowlist, Denylist, Everyone, HttpAccess, SharedToken
from .keys import parse_node_id
from .limits import RateLimit, RelayLimits

__all__ = ["MAX_FILE", "RelayConfig", "SocketAddress", "TlsConfig", "load", "parse"]

log = logging.getLogger(__name__)

SECRET_KEYS = frozenset({"bearer_token", "shared_token"})
"""A wrong value of these may still hold a secret: no message repeats it."""
TOKEN_VARIABLE = "IROH_RELAY_HTTP_BEARER_TOKEN"  # noqa: S105
ACCESS_TOKEN_VARIABLE = "IROH_RELAY_ACCESS_TOKEN"  # noqa: S105
"""Takes the place of every token of `access.shared_token`."""
KEY_CACHE = 65_536
"""Upstream's default is 1 048 576 keys, which would be some 200 MB here."""
CERT_MODES = ("Manual", "Reloading")
"""Both read two files; the second reads them anew now and then, which a test server need not."""
MAX_FILE = 1024 * 1024
"""Bytes."""
MAX_DEPTH = 80
"""Of arrays and tables in each other, as in upstream."""
T = TypeVar("T")


class SocketAddress(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


DEFAULT_ADDRESS = SocketAddress("127.0.0.1", 3340)
"""Upstream listens on [::]:80 unless it is started with `--dev`; a test server has no business there."""
DEFAULT_STUN_ADDRESS = SocketAddress(DEFAULT_ADDRESS.host, 3478)
DEFAULT_METRICS_ADDRESS = SocketAddress(DEFAULT_ADDRESS.host, 9090)


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """Two PEM files for the listener on `https_bind_addr`."""

    https_bind_addr: SocketAddress
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class RelayConfig:
    http_bind_addr: SocketAddress = DEFAULT_ADDRESS
    enable_relay: bool = True
    enable_stun: bool = True
    stun_bind_addr: SocketAddress = DEFAULT_STUN_ADDRESS
    enable_metrics: bool = True
    metrics_bind_addr: SocketAddress = DEFAULT_METRICS_ADDRESS
    access: Access = field(default_factory=Everyone)
    rate_limit: RateLimit | None = None
    tls: TlsConfig | None = None
    key_cache_capacity: int = KEY_CACHE
    send_node_gone: bool = False
    limits: RelayLimits = field(default_factory=RelayLimits)


def load(path: Path | None, *, dev: bool = False, environ: Mapping[str, str] = os.environ) -> RelayConfig:
    """Read the file; without one the defaults. Raises `ConfigurationError` naming file, key and what is expected.

    `dev` is upstream's `--dev`: plain HTTP, whatever the file says about TLS.
    """
    if path is None:
        return RelayConfig()
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE + 1)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    return parse(raw, str(path), dev=dev, environ=environ)


def parse(
    raw: bytes, source: str, *, dev: bool = False, environ: Mapping[str, str] = os.environ
) -> RelayConfig:
    """Likewise from the bytes of the file called `source`."""
    if len(raw) > MAX_FILE:
        raise ConfigurationError(f"{source}: the file has more than {MAX_FILE} bytes")
    try:
        values = tomllib.loads(raw.decode().removeprefix("\ufeff"), parse_float=_finite)
        _check_values(values)
    except UnicodeDecodeError:
        raise ConfigurationError(f"{source}: this is no text in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{source}: this is not TOML: {error}") from error
    except RecursionError:
        raise ConfigurationError(f"{source}: arrays or tables are nested too deep") from None
    except ValueError:  # tomllib leaves it to Python, which converts 4300 digits
        raise ConfigurationError(f"{source}: a number is too large") from None
    problems: list[str] = []
    try:
        config = _relay(_Table(source, "", values, problems), dev, environ)
    except ConfigurationError as error:
        problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))
    return config


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number) and "inf" not in text:
        raise ValueError
    return number


def _check_values(value: Any, depth: int = 0) -> None:
    """Raise where upstream's reader does: `RecursionError` for depth, `ValueError` for numbers above 64 bits."""
    if depth >= MAX_DEPTH and isinstance(value, dict | list):
        raise RecursionError
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inner:
        _check_values(each, depth + 1)


class _Unexpected(Exception):
    """A value that does not fit; the text says what is expected."""


class _Table:
    """One table of the file. Keys are taken out of it; what is left at the end is unknown."""

    def __init__(self, source: str, name: str, values: Mapping[str, Any], problems: list[str]) -> None:
        """`problems` gets a sentence for each: all of them are told, and not the first alone."""
        self.source = source
        self._name = name
        self._problems = problems
        self._values = dict(values)
        self._known: list[str] = []

    def error(self, key: str, problem: str) -> ConfigurationError:
        return ConfigurationError(f"{self.source}: {self._name}{key}: {problem}")

    def take(self, key: str, parse: Callable[[Any], T], default: T) -> T:
        """`parse` raises `_Unexpected` with what is expected."""
        self._known.append(key)
        if key not in self._values:
            return default
        value = self._values.pop(key)
        try:
            return parse(value)
        except _Unexpected as error:
            found = "something else" if key in SECRET_KEYS else repr(value)
            self._problems.append(str(self.error(key, f"expected {error}, found {found}")))
            return default

    def has(self, key: str) -> bool:
        return key in self._values

    def table(self, key: str, *, scalar: str | None = None, may_be_empty: bool = True) -> _Table:
        """A table inside this one, empty if it is absent; `scalar` is a string, or a table of that name alone, that may
        stand for an empty one."""

        def parse(value: Any) -> Mapping[str, Any]:
            if scalar is not None and value in (scalar, {scalar: {}}):
                return {}
            if not isinstance(value, dict) or not (value or may_be_empty):
                raise _Unexpected("a table" if scalar is None else f"{scalar!r} or a table")
            return value

        return _Table(self.source, f"{self._name}{key}.", self.take(key, parse, {}), self._problems)

    def ignore(self, key: str) -> None:
        self._known.append(key)
        self._values.pop(key, None)

    def warn(self, key: str, parse: Callable[[Any], object]) -> None:
        """A key of upstream that changes nothing here."""
        if self.has(key):
            self.take(key, parse, None)
            log.warning("%s: %s%s is not served by this test server", self.source, self._name, key)

    def finish(self, *, strict: bool = False) -> None:
        """Say what is left; `strict` where upstream refuses it, too."""
        known = ", ".join(sorted(self._known))
        for key in self._values:
            if strict:
                self._problems.append(str(self.error(key, f"unknown key; known here are {known}")))
            else:
                sentence = f"unknown key, passed over; known here are {known}"
                log.warning("%s", self.error(key, sentence))


def _relay(top: _Table, dev: bool, environ: Mapping[str, str]) -> RelayConfig:
    http = top.take("http_bind_addr", _address, DEFAULT_ADDRESS)
    _quic(top, dev)
    own = top.table("reference_server")
    send_node_gone = own.take("send_node_gone", _flag, False)
    limits = _limits(own)
    own.finish(strict=True)
    config = RelayConfig(
        http_bind_addr=http,
        enable_relay=top.take("enable_relay", _flag, True),
        enable_stun=top.take("enable_stun", _flag, True),
        stun_bind_addr=top.take("stun_bind_addr", _address, SocketAddress(http.host, 3478)),
        enable_metrics=top.take("enable_metrics", _flag, True),
        metrics_bind_addr=top.take("metrics_bind_addr", _address, SocketAddress(http.host, 9090)),
        access=_access(top, limits.access_timeout, environ),
        rate_limit=_rate_limit(top.table("limits")),
        tls=_tls(top, http.host, dev),
        key_cache_capacity=top.take("key_cache_capacity", _count, KEY_CACHE),
        send_node_gone=send_node_gone,
        limits=limits,
    )
    top.finish()
    return config


def _quic(top: _Table, dev: bool) -> None:
    """QUIC address discovery is not served. Upstream ends at once where it is asked for and there is no `[tls]`."""
    if not top.take("enable_quic_addr_discovery", _flag, False):
        return
    if not top.has("tls") and not dev:
        raise top.error(
            "enable_quic_addr_discovery", "needs a table tls: without one iroh-relay ends at once"
        )
    log.warning("%s: enable_quic_addr_discovery is not served by this test server", top.source)


def _access(top: _Table, timeout: float, environ: Mapping[str, str]) -> Access:
    rules = top.table("access", scalar="everyone", may_be_empty=False)
    keys = {kind: rules.take(kind, _node_ids, None) for kind in ("allowlist", "denylist")}
    asks_service = rules.has("http")
    service = rules.table("http", may_be_empty=False)
    has_url = service.has("url")
    url = service.take("url", _url, None)
    token = service.take("bearer_token", _text, None)
    service.finish()
    if asks_service and not has_url:
        raise service.error("url", "is missing")
    token = environ.get(TOKEN_VARIABLE) or token
    shared = rules.take("shared_token", _tokens, None)
    rules.finish(strict=True)
    chosen: list[Access] = []
    if url and urlsplit(url).scheme in ("http", "https"):
        chosen.append(HttpAccess(url, token, timeout))
    elif url:
        log.warning("%s", service.error("url", "is not of HTTP, so that nobody may use the relay"))
        chosen.append(Allowlist(frozenset()))
    chosen += [Allowlist(keys["allowlist"])] if keys["allowlist"] is not None else []
    chosen += [Denylist(keys["denylist"])] if keys["denylist"] is not None else []
    if shared is not None:
        replaced = environ.get(ACCESS_TOKEN_VARIABLE)
        chosen.append(SharedToken((replaced,) if replaced else shared))
    if len(chosen) > 1:
        raise top.error("access", "choose one of allowlist, denylist, shared_token and http")
    return chosen[0] if chosen else Everyone()


def _rate_limit(limits: _Table) -> RateLimit | None:
    limits.warn("accept_conn_limit", _rate)
    limits.warn("accept_conn_burst", _long_count)
    client = limits.table("client")
    rx = client.table("rx")
    rate = rx.take("bytes_per_second", _positive, None)
    burst = rx.take("max_burst_bytes", _positive, None)
    for table in (rx, client, limits):
        table.finish()
    if rate is None:
        if burst is not None:
            raise rx.error("max_burst_bytes", "needs bytes_per_second beside it")
        return None
    return RateLimit(rate, burst)


def _tls(top: _Table, host: str, dev: bool) -> TlsConfig | None:
    if not top.has("tls"):
        return None
    table = top.table("tls")
    mode = table.take("cert_mode", _text, "LetsEncrypt")
    directory = table.take("cert_dir", _path, Path())
    config = TlsConfig(
        table.take("https_bind_addr", _address, SocketAddress(host, 443)),
        table.take("manual_cert_path", _path, directory / "default.crt"),
        table.take("manual_key_path", _path, directory / "default.key"),
    )
    http_only = table.take("dangerous_http_only", _flag, False)
    for key in ("hostname", "contact", "prod_tls", "quic_bind_addr"):
        table.ignore(key)  # they matter to Let's Encrypt and QUIC only
    table.finish()
    if dev or http_only:
        return None
    if mode not in CERT_MODES:
        expected = " or ".join(f'"{each}"' for each in CERT_MODES)
        raise table.error("cert_mode", f"expected {expected}, as this test server has them, found {mode!r}")
    return config


def _limits(own: _Table) -> RelayLimits:
    """Every field of `RelayLimits` is a key; its default says whether it is a time or a whole number."""
    defaults = RelayLimits()
    values: dict[str, Any] = {}
    for setting in fields(RelayLimits):
        default = getattr(defaults, setting.name)
        values[setting.name] = own.take(
            setting.name, _seconds if isinstance(default, float) else _positive, default
        )
    return RelayLimits(**values)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Unexpected("true or false")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _Unexpected("a string")
    return value


def _path(value: Any) -> Path:
    return Path(_text(value))


def _positive(value: Any) -> int:
    if type(value) is not int or not 0 < value < 2**32:
        raise _Unexpected(f"a whole number from 1 to {2**32 - 1}")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**32:
        raise _Unexpected(f"a whole number from 0 to {2**32 - 1}")
    return value


def _long_count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise _Unexpected("a whole number from 0 up")
    return value


def _rate(value: Any) -> float:
    if type(value) not in (int, float):
        raise _Unexpected("a number")
    return float(value)


def _seconds(value: Any) -> float:
    if type(value) not in (int, float) or not 0 < value < float("inf"):
        raise _Unexpected("a time in seconds, more than 0")
    return float(value)


def _address(value: Any) -> SocketAddress:
    try:
        host, _, port = _text(value).rpartition(":")
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        is_port = port.isascii() and port.isdecimal() and int(port) < 65_536
        if (address.version == 6) != host.startswith("[") or not is_port:
            raise ValueError
    except (ValueError, _Unexpected):
        raise _Unexpected('an IP address and a port like "127.0.0.1:3340" or "[::1]:3340"') from None
    return SocketAddress(str(address), int(port))


def _url(value: Any) -> str:
    try:
        url = urlsplit(_text(value))
        of_http = url.scheme in ("http", "https")
        is_url = url.scheme and (not of_http or _is_host(url.hostname)) and url.port != -1
    except ValueError:  # a port above 65535, or a bracket too many
        is_url = False
    if not is_url:
        raise _Unexpected("an http or https URL")
    return url.geturl()


def _is_host(name: str | None) -> bool:
    return bool(name) and not re.search(r"[\s<>^|%\x00-\x1f\x7f]", name or "")


def _tokens(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(each, str) and each for each in value):
        raise _Unexpected("a list of tokens, none of them empty")
    return tuple(value)


def _node_ids(value: Any) -> frozenset[bytes]:
    try:
        if not isinstance(value, list):
            raise _Unexpected
        return frozenset(parse_node_id(_text(node_id)) for node_id in value)
    except (ValueError, _Unexpected):
        raise _Unexpected(
            "a list of node IDs, each 64 hex digits, or 52 characters of base32, of an ed25519 key"
        ) from None
