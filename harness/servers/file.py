"""A user's own server, started as its TOML file says (`file_format`, docs/servers-and-cores.md)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from ..accounts import AccountSource, Credentials, FirstLogin, GivenAccounts
from ..clients.mail.web import WebAccounts
from ..hosts import Host, MissingCapability
from ..network.namespace import program
from ..target import AdminAccess, Service, Target
from ..urls import RelayUrl, TurnUrl, UrlError
from .file_format import Description, read_description
from .file_values import STANDARD, Values
from .notify import NotifySocket
from .probes import Sign, Signs, answers_http, answers_stun
from .process import Process, accepts, refuse_taken, version_of
from .server import Place, Running, RunningServer, ServerError, Wants, administered, require

__all__ = ["FileServer"]

SCRIPT_MODE, FILE_MODE = 0o700, 0o600
FIRST_ERROR = 400
"""Status of HTTP."""


class FileServer:
    """A program that somebody has described in a file: a whole server, or a service for a composition."""

    def __init__(self, file: Path) -> None:
        """Raises `ValueError` with a sentence for a file that is not as it must be."""
        self._said = read_description(file)
        self.name = self._said.name
        self.services = self._said.services
        # Without a word in the file, its logs are meant to be as they are.
        self.translates = self._said.translates | {"no_logs"}

    def start(self, host: Host, place: Place, wants: Wants) -> Running:
        require(self, wants)
        values = Values(self._said, host, place, wants)
        _refuse_taken(self._said, values, host)
        _write_files(self._said, values)
        with ExitStack() as stack:
            process = _process(self._said, values, host, place, stack)
            process.start()
            services = self.services & wants.services
            running = _running(self._said, values, services, process)
            further = [values.directory / each for each in values.texts("writes", self._said.writes)]
            running.files = (values.directory, process.log, *further)
            if self._said.mail is not None:
                target = _target(self._said, values, running, host)
                running = RunningServer(**vars(running), target=target)
            running.ends = stack.pop_all()
            return running


def _refuse_taken(said: Description, values: Values, host: Host) -> None:
    needed: dict[str, list[int]] = {"udp": [], "tcp": []}
    for name, port in said.ports.items():
        for protocol in port.protocols:
            needed[protocol].append(values.ports[name])
    refuse_taken(host, said.name, values.address, needed)


def _write_files(said: Description, values: Values) -> None:
    for name, text in values.table("files", said.files).items():
        file = values.directory / name
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.touch(mode=FILE_MODE)
        file.write_text(text, encoding="utf-8")
        file.chmod(SCRIPT_MODE if text.startswith("#!") else FILE_MODE)


def _process(said: Description, values: Values, host: Host, place: Place, stack: ExitStack) -> Process:
    """The program, which is not started yet; the stack ends it."""
    environment = values.table("environment", said.environment)
    notify = None
    if said.ready.notify:
        notify = stack.enter_context(NotifySocket(host, values.directory / "notify"))
        environment |= notify.environment
    signs = Signs()
    process = Process(
        said.name,
        host,
        _command(said, values.texts("command", said.command)),
        log=place.logs / f"{said.name}.log",
        ready=signs.hold,
        ready_when=signs.missing,
        within=said.ready.within or place.within,
        version=_version(said, values, host),
        environment=environment,
        directory=values.directory,
        stop_signal=said.stop_signal,
        patience=said.patience,
        before_start=notify.forget if notify else None,
    )
    signs.signs = [
        *_signs_of_process(said, process, notify),
        *_signs_of_services(said, values, host),
    ]
    return stack.enter_context(process)


def _command(said: Description, words: list[str]) -> list[str]:
    """A program without a path is the system's."""
    try:
        return words if "/" in words[0] else [program(words[0]), *words[1:]]
    except MissingCapability as missing:
        raise ServerError(f"{said.name} does not start: there is no program {words[0]}") from missing


def _version(said: Description, values: Values, host: Host) -> str:
    if not said.version:
        return ""
    word = version_of(host, *_command(said, values.texts("version", said.version)))
    return f"{said.name} {word}" if word else ""


def _signs_of_process(said: Description, process: Process, notify: NotifySocket | None) -> Iterator[Sign]:
    if (pattern := said.ready.line) is not None:
        yield Sign(
            f"write a line with {pattern.pattern}",
            lambda: any(pattern.search(line) for line in process.output().splitlines()),
        )
    if notify is not None:
        yield Sign("send READY=1 to NOTIFY_SOCKET", notify.is_ready)


def _signs_of_services(said: Description, values: Values, host: Host) -> Iterator[Sign]:
    """A server that says it is ready is found at each port that it was given."""
    if said.ready.http is not None:
        text = values.text("ready.http", said.ready.http)
        url, path = _relay_url(said, "ready.http", text), urlsplit(text).path or "/"
        yield Sign(f"answer HTTP at {text}", lambda: answers_http(host, url, path, below=FIRST_ERROR))
    for name, port in said.ports.items():
        where = TurnUrl("udp", values.address, values.ports[name])
        if "tcp" in port.protocols:
            yield Sign(
                f"accept connections at {where.host} TCP port {where.port} ({name})",
                lambda where=where: accepts(host, where.host, where.port),  # type: ignore[misc]
            )
        if "udp" in port.protocols and name in ("turn", *said.ready.stun):
            yield Sign(
                f"answer STUN at {where.host} UDP port {where.port} ({name})",
                lambda where=where: answers_stun(host, where),  # type: ignore[misc]
            )


def _running(said: Description, values: Values, services: frozenset[Service], process: Process) -> Running:
    running = Running(said.name, dict.fromkeys(services, process), capabilities=said.capabilities)
    if Service.TURN in services:
        running.turn = tuple(_turn_urls(said, values))
        running.capabilities |= {"turn"} | {url.scheme for url in running.turn}
    if Service.IROH_RELAY in services:
        text = values.text("iroh_relay_url", said.iroh_relay_url)
        running.iroh_relay = _relay_url(said, "iroh_relay_url", text)
        running.capabilities |= {"iroh_relay"}
    running.turn_secret = values.turn_secret
    if said.ca_file is not None or said.certified:
        running.ca_file = values.path("ca_file", said.ca_file or "{{ca}}")
    return running


def _turn_urls(said: Description, values: Values) -> Iterator[TurnUrl]:
    for protocol in said.ports["turn"].protocols:
        yield TurnUrl(protocol, values.address, values.ports["turn"])
    if "turns" in values.ports:
        yield TurnUrl("tls", values.address, values.ports["turns"], "turns")


def _target(said: Description, values: Values, running: Running, host: Host) -> Target:
    assert said.mail is not None
    ports = replace(STANDARD, **{name: values.ports[name] for name in vars(STANDARD) if name in values.ports})
    target = Target(
        name=said.name,
        host=values.found_at,
        domain=values.domain,
        imaps=ports.imaps,
        imap=ports.imap,
        submissions=ports.submissions,
        submission=ports.submission,
        https=ports.https,
        smtp=values.ports.get("smtp"),
        ca_file=running.ca_file,
        dialect=said.mail.dialect,
        capabilities=running.capabilities,
        turn=running.turn,
        iroh_relay=running.iroh_relay,
        accounts=_accounts(said, values, host),
    )
    if said.mail.admin_token is None:
        return target
    return administered(target, AdminAccess(values.text("mail.admin_token", said.mail.admin_token)))


def _accounts(said: Description, values: Values, host: Host) -> AccountSource:
    assert said.mail is not None
    if said.mail.accounts == "login":
        return FirstLogin()
    if said.mail.accounts == "new":
        return WebAccounts(host)
    given = []
    for text in values.texts("mail.accounts", said.mail.accounts):
        address, colon, password = text.partition(":")
        if not colon or "@" not in address or not password:
            raise ServerError(f"{said.file}: mail.accounts must be a list of USER@DOMAIN:PASSWORD")
        given.append(Credentials(address, password))
    return GivenAccounts(given)


def _relay_url(said: Description, key: str, text: str) -> RelayUrl:
    try:
        return RelayUrl.parse(text)
    except UrlError as error:
        raise ServerError(f"{said.file}: {key}: {error}") from error
