"""A user's own server as a TOML file describes it (docs/servers-and-cores.md): read whole and strictly.

Everything that is wrong with the file itself is found here, before anything runs.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import signal
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

from ..target import Service
from .server import Ports
from .templates import names_in
from .toml_table import TomlTable, read_toml

__all__ = ["STANDARD_PORTS", "Description", "Mail", "Port", "Ready", "read_description"]

Protocol = Literal["udp", "tcp"]
NAME = re.compile(r"[a-z][a-z0-9_-]*")
PORT_NAME = re.compile(r"[a-z][a-z0-9_]*")
PLACES = frozenset(
    {
        *("address", "address6", "host", "names", "domain", "state", "here"),
        *("certificate", "key", "ca", "turn_secret"),
        *("advertised_turn", "advertised_turn.host", "advertised_turn.port"),
        *("advertised_turns", "advertised_turns.host", "advertised_turns.port", "advertised_relay"),
    }
)
"""Values that each template may use, besides `ports.NAME` and those of `[wants]`."""
TRANSLATED_BY_USE = {
    "turn_secret": {"turn_secret"},
    "advertised_turn": {"advertised_turn", "advertised_turn.host"},
    "advertised_turns": {"advertised_turns", "advertised_turns.host"},
    "advertised_relay": {"advertised_relay"},
}
"""Wants that a server translates if a template uses one of these values."""
CERTIFICATES = frozenset({"certificate", "key", "ca"})
NUMBERS = ("turn_ttl", "relay_ping_interval")
FLAGS = ("strict_permissions", "both_families", "no_logs", "federation", "mxdeliv")
LIFETIMES = ("allocation", "permission", "channel")
NEEDED_PORTS = {
    Service.MAIL: ("imaps", "submissions"),
    Service.TURN: ("turn",),
    Service.IROH_RELAY: ("iroh_relay",),
}
CAPABILITIES = ("iroh_relay", "relay_v035", "relay_v1", "turn", "turns")
STANDARD_PORTS = tuple(each.name for each in dataclasses.fields(Ports))
DEFAULT_RELAY_URL = "http://{{host}}:{{ports.iroh_relay}}"


@dataclass(frozen=True)
class Port:
    """A port that a server listens on."""

    protocols: tuple[Protocol, ...]
    number: int | None = None
    """None: the standard one in a lab, where its name has one, and a free one elsewhere."""


@dataclass(frozen=True)
class Ready:
    """Signs that it is ready, besides connections to its TCP ports and an answer at `turn`."""

    stun: tuple[str, ...] = ()
    """Names of UDP ports that answer STUN, besides `turn`."""
    http: str | None = None
    """Template of a URL that answers with a status below 400."""
    line: re.Pattern[str] | None = None
    """Found in a line of its output."""
    notify: bool = False
    """It says so at NOTIFY_SOCKET."""
    within: float | None = None
    """Seconds; None: those that the place gives."""


@dataclass(frozen=True)
class Mail:
    """Properties of a server with mail."""

    domain: str | None
    """Template of the part behind the @; None: its name, or its address in brackets."""
    dialect: str
    accounts: str | tuple[str, ...]
    """`login`, `new`, or templates of `USER@DOMAIN:PASSWORD`."""
    admin_token: str | None = None
    """Template of the token of madmail's admin API, where it has one."""


@dataclass(frozen=True)
class Description:
    """All that a file says. Texts are templates, but for names."""

    file: Path
    name: str
    services: frozenset[Service]
    command: tuple[str, ...]
    version: tuple[str, ...]
    capabilities: frozenset[str]
    ca_file: str | None
    writes: tuple[str, ...]
    """Files and directories in which it writes, besides its output and its state directory."""
    turn_secret: str | None
    """The one that it has of its own, and cannot be told."""
    iroh_relay_url: str
    ports: Mapping[str, Port]
    files: Mapping[str, str]
    environment: Mapping[str, str]
    ready: Ready
    stop_signal: signal.Signals
    patience: float
    defaults: Mapping[str, str]
    """Values of `[wants]`, where nobody wants others, by the name in templates."""
    flags: Mapping[str, tuple[str, str]]
    """Want -> texts for false and for true."""
    mail: Mail | None

    @property
    def translates(self) -> frozenset[str]:
        """Fields of `Wants`."""
        used = self.used
        by_use = {want for want, names in TRANSLATED_BY_USE.items() if used & names}
        by_use -= {"turn_secret"} if self.turn_secret is not None else set()
        return frozenset({*by_use, *(name.partition(".")[0] for name in self.defaults), *self.flags})

    @property
    def used(self) -> frozenset[str]:
        """Names of values in all templates."""
        return frozenset(name for _, text in self.templates() for name in names_in(text))

    @property
    def certified(self) -> bool:
        """It wants a certificate of ours."""
        return bool(self.used & CERTIFICATES)

    def templates(self) -> Iterator[tuple[str, str]]:
        """Every template with the key that it stands at."""
        yield from (("command", word) for word in self.command)
        yield from (("version", word) for word in self.version)
        yield from (("writes", word) for word in self.writes)
        yield from ((f"files.{name}", text) for name, text in self.files.items())
        yield from ((f"environment.{name}", text) for name, text in self.environment.items())
        single = {
            "ca_file": self.ca_file,
            "turn_secret": self.turn_secret,
            "iroh_relay_url": self.iroh_relay_url if Service.IROH_RELAY in self.services else None,
            "ready.http": self.ready.http,
            "mail.domain": self.mail.domain if self.mail else None,
            "mail.admin_token": self.mail.admin_token if self.mail else None,
        }
        yield from ((key, text) for key, text in single.items() if text is not None)
        if self.mail is not None and not isinstance(self.mail.accounts, str):
            yield from (("mail.accounts", text) for text in self.mail.accounts)


def read_description(file: Path) -> Description:
    """Raises `ValueError` with a sentence that names the file and the key, or the line."""
    table = read_toml(file)
    services = _services(table)
    ports = _ports(table, services)
    defaults, flags = _wants(table.take_table("wants"))
    stop_signal, patience = _stop(table.take_table("stop"))
    description = Description(
        file=file,
        name=_name(table, file),
        services=services,
        command=_command(table, "command", file),
        version=_command(table, "version", file) if "version" in table else (),
        capabilities=_capabilities(table),
        ca_file=table.take("ca_file", str, "") or None,
        writes=tuple(table.take_words("writes", [])),
        turn_secret=table.take("turn_secret", str, "") or None,
        iroh_relay_url=table.take("iroh_relay_url", str, DEFAULT_RELAY_URL),
        ports=ports,
        files=_files(table.take_table("files")),
        environment=_texts(table.take_table("environment")),
        ready=_ready(table.take_table("ready"), ports),
        stop_signal=stop_signal,
        patience=patience,
        defaults=defaults,
        flags=flags,
        mail=_mail(table.take_table("mail")) if Service.MAIL in services else None,
    )
    table.end()
    _check_templates(description)
    _check_secret(description)
    return description


def _services(table: TomlTable) -> frozenset[Service]:
    words = table.take_words("services")
    for word in words:
        if word not in list(Service):
            raise table.wrong("services", f"has {word!r}; there are {', '.join(Service)}")
    if not words:
        raise table.wrong("services", "must name at least one")
    return frozenset(map(Service, words))


def _name(table: TomlTable, file: Path) -> str:
    name = table.take("name", str, file.stem)
    if not NAME.fullmatch(name):
        raise table.wrong("name", f"is {name!r}: it must be a word of small letters, digits, - and _")
    return name


def _command(table: TomlTable, key: str, file: Path) -> tuple[str, ...]:
    """A program beside the file is known by its path from there."""
    words = table.take_words(key)
    if not words or not words[0]:
        raise table.wrong(key, "must begin with a program")
    program = words[0]
    if "/" in program and not any(names_in(program)):
        path = (file.parent / program).absolute()
        if not path.exists():
            raise table.wrong(key, f"names {program}, and there is no file {path}")
        program = str(path)
    return (program, *words[1:])


def _capabilities(table: TomlTable) -> frozenset[str]:
    words = table.take_words("capabilities", [])
    for word in words:
        if word not in CAPABILITIES:
            raise table.wrong("capabilities", f"has {word!r}; there are {', '.join(CAPABILITIES)}")
    return frozenset(words)


def _ports(table: TomlTable, services: frozenset[Service]) -> dict[str, Port]:
    ports = table.take_table("ports")
    found = {}
    for name in ports:
        if not PORT_NAME.fullmatch(name):
            raise ports.wrong(name, "is no name for a port: it must be a word of small letters, digits and _")
        found[name] = _port(ports, name)
    for service in sorted(services):
        for name in NEEDED_PORTS[service]:
            if name not in found:
                raise table.wrong("ports", f"lacks {name}, which {service.display_name} needs")
    return found


def _port(ports: TomlTable, name: str) -> Port:
    number = None
    if ports.kind_of(name) is dict:
        described = ports.take_table(name)
        words, number = described.take_words("protocols"), described.take("number", int)
        described.end()
        if not 0 < number < 1 << 16:
            raise ports.wrong(name, f"has the number {number}, which is no port")
    else:
        words = ports.take_words(name)
    protocols = tuple(each for each in get_args(Protocol) if each in words)
    if not words or len(protocols) != len(words):
        raise ports.wrong(name, 'must name its protocols: ["udp"], ["tcp"] or both')
    return Port(protocols, number)


def _files(table: TomlTable) -> dict[str, str]:
    for name in table:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise table.wrong(f'"{name}"', "must be a path below the state directory")
    return _texts(table)


def _texts(table: TomlTable) -> dict[str, str]:
    return {name: table.take(name, str) for name in table}


def _ready(table: TomlTable, ports: Mapping[str, Port]) -> Ready:
    stun = table.take_words("stun", [])
    for name in stun:
        if name not in ports or "udp" not in ports[name].protocols:
            raise table.wrong("stun", f"names {name!r}, which is no UDP port in [ports]")
    line = table.take("line", str, "")
    try:
        pattern = re.compile(line) if line else None
    except re.error as error:
        raise table.wrong("line", f"is no regular expression: {error}") from error
    ready = Ready(
        stun=tuple(stun),
        http=table.take("http", str, "") or None,
        line=pattern,
        notify=table.take("notify", bool, False),
        within=_positive(table, "within", 0.0) or None,
    )
    table.end()
    return ready


def _stop(table: TomlTable) -> tuple[signal.Signals, float]:
    name = table.take("signal", str, "SIGTERM")
    if name not in signal.Signals.__members__:
        raise table.wrong("signal", f"is {name!r}, which is no signal; SIGTERM and SIGINT are")
    patience = _positive(table, "patience", 10.0)
    table.end()
    return signal.Signals[name], patience


def _positive(table: TomlTable, key: str, default: float) -> float:
    value = table.take(key, float, default)
    if not 0 <= value < 1e6:
        raise table.wrong(key, f"is {value:g}: it must be seconds")
    return value


def _wants(table: TomlTable) -> tuple[dict[str, str], dict[str, tuple[str, str]]]:
    defaults = {key: f"{table.take(key, float):.10g}" for key in NUMBERS if key in table}
    lifetimes = table.take_table("turn_lifetimes") if "turn_lifetimes" in table else None
    if lifetimes is not None:
        for key in LIFETIMES:
            defaults[f"turn_lifetimes.{key}"] = f"{lifetimes.take(key, float):.10g}"
        lifetimes.end()
    flags = {}
    for key in FLAGS:
        if key in table:
            texts = table.take_table(key)
            flags[key] = texts.take("false", str), texts.take("true", str)
            texts.end()
    for key in table:
        if key in TRANSLATED_BY_USE:
            raise table.wrong(
                key, f"needs no entry: a server that has {{{{{key}}}}} in a template is told it"
            )
        known = (*NUMBERS, "turn_lifetimes", *FLAGS)
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise table.wrong(key, f"is nothing that a check wants; {hint}")
    return defaults, flags


def _mail(table: TomlTable) -> Mail:
    accounts: str | tuple[str, ...]
    if table.kind_of("accounts") is list:
        accounts = tuple(table.take_words("accounts"))
    else:
        accounts = table.take("accounts", str, "login")
        if accounts not in ("login", "new"):
            raise table.wrong("accounts", 'must be "login", "new" or a list of "USER@DOMAIN:PASSWORD"')
    dialect = table.take("dialect", str, "unknown")
    if dialect not in ("chatmail", "madmail", "unknown"):
        raise table.wrong("dialect", f"is {dialect!r}; there are chatmail, madmail and unknown")
    domain, token = (table.take(key, str, "") or None for key in ("domain", "admin_token"))
    mail = Mail(domain, dialect, accounts, token)
    table.end()
    return mail


def _check_templates(description: Description) -> None:
    wanted = {*description.defaults, *description.flags}
    known = PLACES | {f"ports.{name}" for name in description.ports} | wanted
    for key, text in description.templates():
        for name in names_in(text):
            if name not in known:
                raise ValueError(
                    f"{description.file}: {key} uses {{{{{name}}}}}, {_why_no_value(name, known)}"
                )
    for name in sorted(wanted - description.used):
        raise ValueError(
            f"{description.file}: wants.{name} is used by no template: put {{{{{name}}}}} into one"
        )


def _check_secret(description: Description) -> None:
    """Somebody else writes the credentials for a TURN server that is a part."""
    known = description.turn_secret is not None or "turn_secret" in description.used
    if Service.TURN in description.services and description.mail is None and not known:
        raise ValueError(
            f"{description.file}: nobody knows the secret for TURN credentials: put {{{{turn_secret}}}} into a "
            "template, or say with turn_secret which one the server has"
        )


def _why_no_value(name: str, known: Collection[str]) -> str:
    if name.partition(".")[0] in (*NUMBERS, "turn_lifetimes", *FLAGS):
        return "and [wants] does not say what it is where no check wants another"
    near = difflib.get_close_matches(name, known, n=1)
    return "which is no value" + (f"; did you mean {{{{{near[0]}}}}}?" if near else "")
