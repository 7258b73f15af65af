"""madmail 2.x (https://github.com/themadorg/madmail): a whole chatmail server as one program, known by its path.

Mail and TURN are one process; the iroh relay is upstream's program, which madmail starts as its child.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import signal
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from ..hosts import Host, MissingCapability, output_of
from ..keeper import children_of
from ..target import AdminAccess, Service, Target
from ..urls import RelayUrl, TurnUrl
from ..waiting import WaitTimeout, wait_until
from .certificates import Certificate, issue
from .iroh_relay import BINARY_VARIABLE as RELAY_VARIABLE
from .notify import NotifySocket
from .process import Process, accepts, free_port, refuse_taken, version_of
from .server import (
    EVERY_SERVICE,
    Place,
    Ports,
    Program,
    RunningServer,
    ServerError,
    Wants,
    administered,
    require,
)

__all__ = ["BINARY_VARIABLE", "Madmail"]

BINARY_VARIABLE = "MADMAIL_BIN"
RELAY_NAME = "iroh-relay"
"""Of the relay's program, where it lies beside madmail's."""
SMTP_PORT = 25
EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - what madmail does, whatever it is told
TURN_TTL = 86400
"""Seconds for which credentials of TURN are valid, madmail's default."""
COMMAND_WITHIN = 30.0
RELAY_ENDS_WITHIN = 10.0
RELOADS_WITHIN = 30.0
"""Seconds; for up to eight of them madmail waits until its clients have left."""
CONFIG = """\
$(hostname) = {name}
$(primary_domain) = {domain}
$(local_domains) = $(primary_domain) {name}
$(public_ip) = {address}
state_dir {state}
runtime_dir {state}/run
tls file {certificate.chain} {certificate.key}
log {log}
hostname $(hostname)
auth.pass_table local_authdb {{
    auto_create yes
    jit_domain $(primary_domain)
    table sql_table {{
        driver sqlite3
        dsn credentials.db
        table_name passwords
    }}
}}
storage.imapsql local_mailboxes {{
    auto_create yes
    driver sqlite3
    dsn imapsql.db
}}
smtp tcp://{at.address}:{at.smtp} {{
    reject 550 5.1.1 "User doesn't exist"
}}
submission tls://{at.address}:{at.ports.submissions} tcp://{at.address}:{at.ports.submission} {{
    auth &local_authdb
    source $(local_domains) {{
        destination $(local_domains) {{
            deliver_to &local_mailboxes
        }}
        default_destination {{
            reject 550 5.1.1 "User doesn't exist"
        }}
    }}
    default_source {{
        reject 501 5.1.8 "Non-local sender domain"
    }}
}}
imap tls://{at.address}:{at.ports.imaps} tcp://{at.address}:{at.ports.imap} {{
    auth &local_authdb
    storage &local_mailboxes
{metadata}
}}
chatmail tls://{at.address}:{at.ports.https} {{
    mail_domain $(primary_domain)
    mx_domain $(primary_domain)
    web_domain $(primary_domain)
    auth_db local_authdb
    storage local_mailboxes
    public_ip $(public_ip)
    admin_token {token}
}}
{turn}
"""
TURN_METADATA = """\
    turn_enable yes
    turn_server {host}
    turn_port {port}
    turn_secret {secret}
    turn_ttl {ttl}
"""
RELAY_METADATA = """\
    iroh_relay_url {url}
"""
TURN = """\
turn udp://{listen} tcp://{listen} {{
    realm {name}
    secret {secret}
    relay_ip {address}
}}
"""
"""The address of the UDP listener is read from the word with `tcp://`; nothing listens for TURN over TCP."""


RELAY_SCRIPT = """\
#!/bin/sh
# In place of the relay: madmail writes its file anew at each start, with metrics switched off.
{{
    grep -v -e ^enable_metrics -e ^metrics_bind_addr "$2"
    echo 'enable_metrics = true'
    echo 'metrics_bind_addr = "{at}"'
}} >{file}
exec {relay} "$1" {file}
"""


class Madmail:
    """Mail, TURN over UDP, and the iroh relay.

    METADATA can name TURN and relays of others; madmail's own run all the same then, at ports that nobody is told.
    """

    name = "madmail"
    services = EVERY_SERVICE
    translates = frozenset(
        {
            *("turn_ttl", "turn_secret", "advertised_relay", "advertised_turn", "both_families", "no_logs"),
            "program_name",
            *("federation", "mxdeliv"),  # which it has whether they are wanted or not
        }
    )

    def __init__(self, binary: Path | None = None) -> None:
        """`binary`: its path; None: that in the environment, `MADMAIL_BIN`."""
        self._binary = binary

    def start(self, host: Host, place: Place, wants: Wants) -> RunningServer:
        require(self, wants)
        wants = replace(wants, turn_secret=wants.turn_secret or secrets.token_urlsafe(32))
        binary = self._own_program()
        version = version_of(host, binary, "version")
        relay = _relay_program(binary)
        directory = place.directory(self.name)
        if wants.program_name is not None:
            binary = Path(shutil.copy(binary, directory / wants.program_name))
        names = (place.name, place.address, place.address6, *place.certified)
        certificate = issue(directory, [each for each in names if each])
        listeners = _Listeners.choose(host, place, wants)
        listeners.refuse_taken(host, place)
        admin = AdminAccess(secrets.token_hex(32))
        config = directory / "madmail.conf"
        config.touch(mode=0o600)
        config.write_text(_config(place, wants, listeners, certificate, admin.token))
        command = [str(word) for word in (binary, "--config", config, "--state-dir", directory)]
        if port := listeners.ports.iroh_relay:  # no directive for it
            _run(host, [*command, "port", "iroh", "set", str(port)])
        relay_version = version_of(host, relay)
        metrics = RelayUrl(False, place.address, free_port(host, place.address))
        script = _relay_script(relay, metrics, directory)
        with ExitStack() as stack:
            notified = stack.enter_context(NotifySocket(host, directory / "notify"))
            process = _Process(
                host, command, place, listeners, version=version, relay=script, notified=notified
            )
            stack.enter_context(process)
            process.start()
            programs: dict[Service, Program] = {
                Service.MAIL: process,
                Service.TURN: process,
                Service.IROH_RELAY: _RelayChild(process, relay_version),
            }
            target = administered(_target(place, wants, listeners, certificate), admin)
            return RunningServer(
                self.name,
                {service: program for service, program in programs.items() if service in wants.services},
                turn=target.turn,
                iroh_relay=target.iroh_relay,
                capabilities=target.capabilities,
                ca_file=target.ca_file,
                turn_secret=wants.turn_secret,
                relay_metrics=metrics if target.iroh_relay else None,
                target=target,
                files=(directory, process.log),
                ends=stack.pop_all(),
            )

    def _own_program(self) -> Path:
        given = self._binary or os.environ.get(BINARY_VARIABLE)
        if not given:
            raise MissingCapability(
                self.name,
                "no binary of it is known, and no package has it",
                heal=f"--server madmail=PATH, or {BINARY_VARIABLE}=PATH in the environment",
            )
        return Path(given).absolute()


def _relay_program(madmail: Path) -> Path:
    """The relay that it is to start: that in the environment, or one beside it."""
    given = os.environ.get(RELAY_VARIABLE)
    if given:
        return Path(given).absolute()
    beside = madmail.with_name(RELAY_NAME)
    if not beside.exists():
        raise MissingCapability(
            RELAY_NAME,
            "madmail starts it, and there is none beside it",
            heal=f"{beside}, or {RELAY_VARIABLE}=PATH in the environment",
        )
    return beside


def _relay_script(relay: Path, metrics: RelayUrl, directory: Path) -> Path:
    """A program in place of the relay that makes it count at `metrics`."""
    script = directory / RELAY_NAME
    file = shlex.quote(str(directory / "iroh-relay-with-metrics.toml"))
    script.write_text(
        RELAY_SCRIPT.format(at=f"{metrics.host}:{metrics.port}", file=file, relay=shlex.quote(str(relay)))
    )
    script.chmod(0o700)
    return script


@dataclass(frozen=True)
class _Listeners:
    """Where one madmail listens. A port of TURN or of the relay is 0 where it has none."""

    address: str
    """Of mail; as a URL has it."""
    turn_address: str
    smtp: int
    ports: Ports

    @classmethod
    def choose(cls, host: Host, place: Place, wants: Wants) -> _Listeners:
        """The place's own ports, or free ones."""

        def port(standard: int, address: str = place.address, rather: int | None = None) -> int:
            return standard if place.ports else free_port(host, address, rather=rather)

        def hidden_port(advertised: str | None, address: str) -> int:
            return free_port(host, address) if advertised else 0

        usual = place.ports or Ports()
        return cls(
            "[::]" if wants.both_families else place.address,
            EVERY_ADDRESS if wants.both_families else place.address,  # it takes those of IPv6 as well
            port(SMTP_PORT),
            Ports(
                imaps=port(usual.imaps),
                imap=port(usual.imap),
                submissions=port(usual.submissions),
                submission=port(usual.submission),
                https=port(usual.https),
                turn=port(usual.turn, rather=usual.turn)  # where iroh asks for STUN
                if Service.TURN in wants.services
                else hidden_port(wants.advertised_turn, place.address),
                iroh_relay=port(usual.iroh_relay, EVERY_ADDRESS)
                if Service.IROH_RELAY in wants.services
                else hidden_port(wants.advertised_relay, EVERY_ADDRESS),
            ),
        )

    @property
    def mail(self) -> tuple[int, ...]:
        """TCP ports."""
        own = self.ports
        return own.imaps, own.imap, own.submissions, own.submission, own.https, self.smtp

    def refuse_taken(self, host: Host, place: Place) -> None:
        """Raise `ServerError` for a port that is taken: madmail itself would not notice each of them."""
        refuse_taken(host, Madmail.name, place.address, {"tcp": self.mail})
        if self.ports.turn:
            refuse_taken(host, Madmail.name, place.address, {"udp": [self.ports.turn]})
        if self.ports.iroh_relay:
            refuse_taken(host, Madmail.name, EVERY_ADDRESS, {"tcp": [self.ports.iroh_relay]})


def _config(place: Place, wants: Wants, at: _Listeners, certificate: Certificate, token: str) -> str:
    name = place.name or place.address
    metadata, turn = "    turn_enable no\n", ""
    if at.ports.turn:
        advertised, _, port = (wants.advertised_turn or f"{place.address}:{at.ports.turn}").rpartition(":")
        metadata = TURN_METADATA.format(
            host=advertised, port=port, secret=wants.turn_secret, ttl=wants.turn_ttl or TURN_TTL
        )
        turn = TURN.format(
            listen=f"{at.turn_address}:{at.ports.turn}",
            name=name,
            secret=wants.turn_secret,
            address=place.address,
        )
    if at.ports.iroh_relay:
        url = wants.advertised_relay or f"http://{name}:{at.ports.iroh_relay}"
        metadata += RELAY_METADATA.format(url=url)
    return CONFIG.format(
        name=name,
        domain=place.name or f"[{place.address}]",
        address=place.address,
        state=place.directory(Madmail.name),
        certificate=certificate,
        log="off" if wants.no_logs else "stderr",
        token=token,
        at=at,
        metadata=metadata.rstrip("\n"),
        turn=turn,
    )


def _target(place: Place, wants: Wants, at: _Listeners, certificate: Certificate) -> Target:
    has_turn, has_relay = (each in wants.services for each in (Service.TURN, Service.IROH_RELAY))
    return Target(
        name=Madmail.name,
        host=place.address,
        domain=place.name or f"[{place.address}]",
        imaps=at.ports.imaps,
        imap=at.ports.imap,
        submissions=at.ports.submissions,
        submission=at.ports.submission,
        https=at.ports.https,
        ca_file=certificate.ca,
        dialect="madmail",
        smtp=at.smtp,
        capabilities=frozenset({"own_program"})
        | frozenset(({"turn"} if has_turn else set()) | ({"iroh_relay"} if has_relay else set())),
        turn=(TurnUrl("udp", place.address, at.ports.turn),) if has_turn else (),
        iroh_relay=RelayUrl(False, place.address, at.ports.iroh_relay) if has_relay else None,
    )


class _Process(Process):
    """madmail itself. Mail and TURN live in it, and the relay ends with it: a restart of one is a restart of all."""

    def __init__(
        self,
        host: Host,
        command: Sequence[str],
        place: Place,
        listeners: _Listeners,
        *,
        version: str,
        relay: Path,
        notified: NotifySocket,
    ) -> None:
        self.executable = Path(command[0])
        super().__init__(
            Madmail.name,
            host,
            [*command, "run"],
            log=place.logs / "madmail.log",
            ready=self._listens,
            ready_when=f"report READY=1 and accept connections at {place.address}",
            within=place.within,
            version=f"madmail {version}",
            environment={**notified.environment, "CHATMAIL_IROH_RELAY_PATH": str(relay)},
            before_start=notified.forget,
        )
        self._controls = command
        self._address = place.address
        self._listeners = listeners
        self._notified = notified

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)  # without the relay, which has a pause of its own

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def reload(self) -> None:
        """Start TURN and the relay anew, by the operator's command. IMAP and SMTP sessions end, too."""
        api = f"https://{self._address}:{self._listeners.ports.https}/api/admin"
        _run(self._host, [*self._controls, "reload", "--insecure", "--url", api])
        try:
            wait_until(
                self._relay_accepts, "the relay of madmail to accept connections", within=RELOADS_WITHIN
            )
            wait_until(self._mail_accepts, "madmail to accept connections", within=RELOADS_WITHIN)
        except WaitTimeout as error:
            raise ServerError(self._explain(f"was told to reload: {error}")) from error

    def relay(self) -> int | None:
        """Process ID of its child; None: it has ended, and madmail has not noticed."""
        return next(filter(_lives, children_of(self.pid)), None)

    def _listens(self) -> bool:
        if not self._notified.is_ready() or not self._mail_accepts():
            return False
        return self._relay_accepts() or self.relay() is None

    def _mail_accepts(self) -> bool:
        return all(accepts(self._host, self._address, port) for port in self._listeners.mail)

    def _relay_accepts(self) -> bool:
        return accepts(self._host, self._address, self._listeners.ports.iroh_relay)


class _RelayChild(Program):
    """The iroh relay, which madmail starts and neither watches nor starts again."""

    log = None
    """madmail throws away what it writes."""

    def __init__(self, madmail: _Process, version: str) -> None:
        self.name = "madmail iroh-relay"
        self.version = f"iroh-relay {version}"
        self._madmail = madmail

    def start(self) -> None:
        """By a reload of madmail, which TURN and mail notice as well."""
        self._madmail.reload()

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        os.kill(self._pid(), signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self._pid(), signal.SIGCONT)

    def _pid(self) -> int:
        pid = self._madmail.relay()
        if pid is None:
            raise ServerError(f"{self.name} is not running")
        return pid

    def _end(self, number: signal.Signals) -> None:
        pid = self._pid()
        os.kill(pid, number)
        try:
            wait_until(lambda: not _lives(pid), f"{self.name} to end", within=RELAY_ENDS_WITHIN)
        except WaitTimeout as error:
            raise ServerError(str(error)) from error


def _lives(process: int) -> bool:
    """It is there, and no zombie (proc(5))."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _run(host: Host, command: Sequence[str]) -> None:
    """Raise `ServerError` with the words of a command that fails."""
    environment = {**os.environ, "NO_PROXY": "*"}
    try:
        code, said = output_of(host, command, within=COMMAND_WITHIN, env=environment)
    except TimeoutError as error:
        raise ServerError(f"{shlex.join(command)}: {error}") from None
    if code != 0:
        raise ServerError(f"{shlex.join(command)} failed: {said.strip()}")
