"""Our reference server as a program: known only by its ready line and its control socket (docs/control-protocol.md)."""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..clients.control import ControlClient, ControlError
from ..closing import Closing
from ..errors import plain
from ..hosts import Host, MissingCapability, end_process
from ..preloaded import preloaded
from ..target import AdminAccess, Service
from ..versions import own_version
from ..waiting import WaitTimeout, wait_until
from .endpoints import describe
from .server import EVERY_SERVICE, Place, Program, RunningServer, ServerError, Wants, administered, require

__all__ = ["COMMAND", "Reference", "SupervisorProcess", "require_installed", "supervised_programs"]

COMMAND = (sys.executable, "-m", "reference_server")
MODULES = (
    "reference_server.__main__",
    "reference_server.tls",
    "reference_server.mail.service",
    "reference_server.turn.service",
    "reference_server.iroh_relay.service",
)
"""All that a server loads when it starts: ours and its mutants are forked from a process that has done it."""
CAPABILITIES = {
    Service.MAIL: frozenset[str](),
    Service.TURN: frozenset({"turn_peers_by_port"}),  # its listeners say the rest
    Service.IROH_RELAY: frozenset({"iroh_relay", "relay_v035", "relay_v1"}),
}
LIFELINE = "DC_SERVER_LIFELINE"
"""Names the read end of a pipe that we hold: when we are gone, even by kill -9, the server ends itself."""
STOP_PATIENCE = 10.0
"""Seconds that the supervisor gets to end its services before all of them are killed."""
RETRY_AFTER = 0.5
"""Seconds until mail that another server did not take is tried again: checks wait for it."""
TAIL_LINES = 20
PUBLIC = ("--public", "--password-hash-cost", "low")
"""Others reach the addresses of a lab, but not from outside of it; passwords of a test are worth nothing."""
BOTH_FAMILIES_MADDY = """\
$(primary_domain) = {name}
imap tls://0.0.0.0:993 {{
    turn_enable yes
    turn_server {address}
    turn_port 3478
    turn_secret {secret}
}}
turn udp://{address}:3478 udp://[{address6}]:3478 tcp://{address}:3478 tls://{address}:5349 {{
    realm {name}
    secret {secret}
    tls self_signed
}}
"""
"""Listens on every address, as an operator has it: only TURN needs to be told which there are. Its listener for IPv6 is
there because iroh asks for STUN at each address of the relay."""
BOTH_FAMILIES_RELAY = 'http_bind_addr = "[::]:{port}"\nenable_stun = false\nenable_metrics = false\n'


class Reference:
    """A whole chatmail server, or the services of it that are wanted."""

    name = "reference"
    services = EVERY_SERVICE
    translates = frozenset(
        {
            *("turn_ttl", "turn_lifetimes", "strict_permissions", "turn_secret", "relay_ping_interval"),
            "no_logs",  # it never writes any about its users
            *("advertised_relay", "advertised_turn", "advertised_turns", "both_families", "dovecot"),
            *("federation", "mxdeliv"),
        }
    )

    def __init__(self, command: Sequence[str] = COMMAND, name: str = name) -> None:
        """`command`: another program that takes the same arguments, such as a mutant; `name`: its own."""
        self._command = command
        self.name = name

    def start(self, host: Host, place: Place, wants: Wants) -> RunningServer:
        require(self, wants)
        admin = AdminAccess(secrets.token_hex(16))
        words = _arguments(place, wants)
        words += ["--admin-token-file", str(_private(place, "admin-token", f"{admin.token}\n"))]
        with ExitStack() as stack:
            process = stack.enter_context(SupervisorProcess(host, _quick(self._command), words, place))
            running = _running(self.name, process, host, wants)
            if wants.dovecot is None:  # which has the mail, and knows nothing of this API
                running.target = administered(running.target, admin)
            running.files = (place.state, *process.outputs)
            running.ends = stack.pop_all()
            return running


def require_installed(command: Sequence[str]) -> None:
    """Raise `MissingCapability` for a module that is not there: whoever tests servers of others needs none of ours."""
    _python, *words = command
    if words[:1] == ["-m"] and importlib.util.find_spec(words[1]) is None:
        heal = "pip install --force-reinstall dc-harness"
        raise MissingCapability(words[1], "this package is not installed", heal=heal)


def _quick(command: Sequence[str]) -> Sequence[str]:
    """What takes the place of this command where it starts one of ours; each other one stays as it is."""
    require_installed(command)
    match tuple(command):
        case (sys.executable, "-m", "reference_server" | "mutants" as package, *arguments):
            return preloaded(f"{package}.__main__", *arguments, loads=MODULES)
    return command


def _arguments(place: Place, wants: Wants) -> list[str]:
    words = ["--state", str(place.state), *([] if place.is_loopback else PUBLIC)]
    if wants.both_families:
        words += _both_families(place, wants)
    else:
        words += ["--host", place.address]
    words.append("--standard-ports" if place.ports else "--ephemeral-ports")
    if Service.TURN not in wants.services:
        words.append("--no-turn")
        # With both families the file of the relay says it.
        if wants.advertised_turn is not None and not wants.both_families:
            words.append("--no-stun")  # UDP 3478 is for the other TURN server
    if Service.IROH_RELAY not in wants.services:
        words.append("--no-relay")
    words += _federation(place, wants)
    options: dict[str, object] = {
        "--advertise-relay": wants.advertised_relay,
        "--advertise-turn": wants.advertised_turn,
        "--advertise-turns": wants.advertised_turns,
        "--turn-ttl": wants.turn_ttl,
        "--relay-ping-interval": wants.relay_ping_interval,
        "--dovecot": wants.dovecot,
    }
    if wants.turn_lifetimes is not None:
        options |= {
            "--turn-default-lifetime": wants.turn_lifetimes.allocation,
            "--turn-max-lifetime": wants.turn_lifetimes.allocation,
            "--turn-permission-lifetime": wants.turn_lifetimes.permission,
            "--turn-channel-lifetime": wants.turn_lifetimes.channel,
        }
    has_turn = Service.TURN in wants.services or wants.advertised_turn is not None
    if wants.turn_secret is not None and has_turn and not _is_in_a_file(wants):
        options["--turn-secret-file"] = _private(place, "turn-secret", f"{wants.turn_secret}\n")
    words += [str(word) for pair in options.items() if pair[1] is not None for word in pair]
    return [*words, "--turn-strict-permissions"] if wants.strict_permissions else words


def _federation(place: Place, wants: Wants) -> list[str]:
    words = ["--dialect", "madmail"] if wants.mxdeliv else []
    if wants.federation or wants.mxdeliv:
        words += ["--federation", "--retry-after", str(RETRY_AFTER)]
    if wants.federation and not wants.both_families:  # which have said the domain already
        words += ["--domain", place.name or f"[{place.address}]"]
    return words


def _is_in_a_file(wants: Wants) -> bool:
    """TURN is described by a maddy.conf, with its secret."""
    return bool(wants.both_families) and Service.TURN in wants.services


def _both_families(place: Place, wants: Wants) -> list[str]:
    assert place.name is not None and place.address6 is not None
    words = ["--host", "::", "--dialect", "chatmail", "--domain", place.name]
    if _is_in_a_file(wants):
        secret = wants.turn_secret or secrets.token_urlsafe(32)
        text = BOTH_FAMILIES_MADDY.format(
            name=place.name, address=place.address, address6=place.address6, secret=secret
        )
        words += ["--config", str(_private(place, "maddy.conf", text))]
    if Service.IROH_RELAY in wants.services:
        port = place.ports.iroh_relay if place.ports else 0
        text = BOTH_FAMILIES_RELAY.format(port=port)
        words += ["--config", str(_private(place, "iroh-relay.toml", text))]
    return words


def _private(place: Place, name: str, text: str) -> Path:
    file = place.directory("given") / name
    file.touch(mode=0o600)
    file.write_text(text)
    return file


def _running(name: str, process: SupervisorProcess, host: Host, wants: Wants) -> RunningServer:
    endpoints = process.endpoints
    capabilities = frozenset[str]().union(*(CAPABILITIES[each] for each in wants.services))
    try:
        control = ControlClient(Path(endpoints["control"]), host)
        target = describe(endpoints, name, capabilities)
        programs = supervised_programs(control)
    except ControlError as error:
        raise ServerError(process.explain(f"is ready, but {error}")) from error
    except (KeyError, TypeError, ValueError) as error:
        raise ServerError(process.explain(f"has a ready line without a usable {error}")) from error
    if wants.relay_ping_interval is not None:
        target = replace(target, relay_ping_interval=wants.relay_ping_interval)
    return RunningServer(
        name,
        programs,
        turn=target.turn,
        iroh_relay=target.iroh_relay,
        capabilities=target.capabilities,
        ca_file=target.ca_file,
        turn_secret=wants.turn_secret,
        control=control,
        target=target,
        records=tuple((str(name), str(kind), str(text)) for name, kind, text in endpoints.get("dns", ())),
    )


def supervised_programs(control: ControlClient) -> dict[Service, Program]:
    """The services of a server behind its control socket. Raises `ControlError`."""
    ledgers = control.ledger()
    return {
        each: _SupervisedProgram(each, control)
        for each in Service
        if getattr(ledgers, each.value) is not None
    }


class _SupervisedProgram(Program):
    """A service of the server: a process that its supervisor starts and ends for us."""

    def __init__(self, service: Service, control: ControlClient) -> None:
        self.name = f"reference {service.value}"
        self.version = f"{self.name} {own_version()}"
        self._service = service.value
        self._control = control

    @property
    def log(self) -> Path:
        return self._control.logs(self._service, lines=1).path

    def start(self) -> None:
        self._do(self._control.start)

    def stop(self) -> None:
        self._do(self._control.stop)

    def kill(self) -> None:
        self._do(self._control.stop, kill=True)

    def restart(self, *, kill: bool = False) -> None:
        self._do(self._control.restart, kill=kill)

    def pause(self) -> None:
        self._do(self._control.pause, paused=True)

    def resume(self) -> None:
        self._do(self._control.pause, paused=False)

    def _do(self, verb: Callable[..., object], **options: bool) -> None:
        try:
            verb(self._service, **options)
        except ControlError as error:
            raise ServerError(f"{self.name}: {error}") from error


class SupervisorProcess(Closing):
    """The supervisor's process; its services write into `state`, and what they wrote is kept at the end."""

    def __init__(self, host: Host, command: Sequence[str], arguments: Sequence[str], place: Place) -> None:
        require_installed(command)
        self._place = place
        self._stdout_path = place.logs / f"{Reference.name}.stdout.log"
        self.stderr_path = place.logs / f"{Reference.name}.stderr.log"
        place.logs.mkdir(parents=True, exist_ok=True)
        lifeline, self._lifeline = os.pipe()
        try:
            with self._stdout_path.open("wb") as stdout, self.stderr_path.open("wb") as stderr:
                self._process = host.popen(
                    [*command, "--ledger", *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    pass_fds=[lifeline],
                    env={**os.environ, LIFELINE: str(lifeline)},
                    process_group=0,  # Ctrl-C in the terminal is for the harness, which then ends the server
                )
        except BaseException as error:
            os.close(self._lifeline)
            if isinstance(error, OSError):
                raise ServerError(f"the server does not start: {command[0]}: {plain(error)}") from error
            raise
        finally:
            os.close(lifeline)
        try:
            self.endpoints = self._read_ready_line()
        except BaseException:
            self.close()
            raise

    @property
    def outputs(self) -> tuple[Path, ...]:
        """What the supervisor itself writes."""
        return self._stdout_path, self.stderr_path

    @property
    def pid(self) -> int:
        """Process ID of the supervisor."""
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        """End the server, its services with it, and reap it. A second call does nothing."""
        if self._lifeline < 0:
            return
        end_process(self._process, patience=STOP_PATIENCE)
        os.close(self._lifeline)
        self._lifeline = -1
        for log in self._place.state.glob("logs/*.log"):  # evidence, and the rest of its state is not
            shutil.copy(log, self._place.logs / f"server.{log.name}")

    def explain(self, what: str) -> str:
        """The sentence "the server ...", with the end of what it wrote on stderr."""
        tail = self.stderr_path.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        said = "\n  ".join(tail) if tail else "(nothing)"
        return f"the server {what}. The end of {self.stderr_path}:\n  {said}"

    def _read_ready_line(self) -> Mapping[str, Any]:
        try:
            line = wait_until(self._first_line, "the server's ready line", within=self._place.within)
        except WaitTimeout:
            raise ServerError(self.explain(f"was not ready within {self._place.within:g} s")) from None
        try:
            ready = json.loads(line)
            if ready["ready"] is True and isinstance(ready["endpoints"], dict):
                return ready["endpoints"]
        except (ValueError, KeyError, TypeError):
            pass  # said below, together with the other ways to be wrong
        shown = line[:200].decode(errors="replace")
        raise ServerError(self.explain(f"printed {shown!r} instead of a ready line"))

    def _first_line(self) -> bytes:
        code = self._process.poll()  # before reading: whatever an ended process wrote is there to read
        line, newline, _ = self._stdout_path.read_bytes().partition(b"\n")
        if not newline and code is not None:
            raise ServerError(self.explain(f"ended with exit code {code} before it was ready"))
        return line if newline else b""
