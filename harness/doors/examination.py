"""The work of `dc-harness doctor`: looks at a server, once or again and again, and what follows from them."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ..accounts import GivenAccounts, SameAccounts
from ..causes.cause import Weight
from ..diagnosis.data import as_json, as_metrics
from ..diagnosis.diagnosis import Diagnosis, diagnose
from ..diagnosis.text import changes, render
from ..hosts import Host, LocalHost, MissingCapability
from ..look.look import PARTS, look_at
from ..look.swarm import look_at_swarm
from ..network.pairs import network_of
from ..network.probe import NotAsItSays, self_test
from ..network.profiles import Profile
from ..report.looks import CallLook, SwarmLook
from ..report.redaction import Redactor
from ..report.run import Run
from ..scratch import remove_leftovers, scratch_directory
from ..servers.server import ServerError, Unsupported
from ..stage.lab import LabStage
from ..stage.options import Choice
from ..stage.session import Session, open_session
from ..stage.stage import Stage
from ..steps.doctor_call import call_through_turn
from ..target import Target
from ..waiting import watch
from .console import complain, say
from .exit_codes import FAILED, PASSED, UNDECIDED
from .interrupts import Interrupted, interruptible

__all__ = ["examine"]

SHORTEST_SECRET = 8
OFFERED = frozenset({"turn", "iroh_relay"})
"""Capabilities of a server whose METADATA has both, as far as a call needs them."""
EVERY = re.compile(r"(\d{1,6})(s|m|h|d)")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LEAST = 10


def examine(arguments: argparse.Namespace, choice: Choice) -> int:
    """0 healthy, 1 sick, 3 could not tell. Raises ValueError with a sentence for options that make no sense."""
    every = _seconds_of(arguments.watch) if arguments.watch else None
    network = _network(arguments.network, choice) if arguments.network else None
    redactor = Redactor()
    try:
        with interruptible(), _session(choice, redactor) as session, _view(session, network) as view:
            look = partial(view.look, arguments.parts or PARTS, choice.must, with_calls=arguments.with_calls)
            if every is None:
                return _show(look(), arguments, redactor)
            return _watch(look, every, arguments, redactor)
    except Interrupted as signal:
        return signal.exit_code
    except (ServerError, MissingCapability, Unsupported, NotAsItSays) as error:
        complain(redactor.text(str(error)))
        return UNDECIDED


def _network(name: str, choice: Choice) -> Profile:
    """The emulated network of that name. Raises ValueError for one that would look like a fault of the server."""
    network = network_of(name)
    if choice.is_remote and choice.uplink is None:
        raise ValueError(
            f"--from {name}: from an emulated network, only --uplink real leads to a server elsewhere"
        )
    if network.ipv4 is None:
        raise ValueError(f"--from {name}: a lab reaches servers over IPv4 alone, and {network.name} has none")
    if network.ipv4.mapping is None:
        raise ValueError(
            f"--from {name}: {network.sentence[:1].lower()}{network.sentence[1:-1]}, and that would look like a "
            "fault of the server"
        )
    return network


def _seconds_of(text: str) -> int:
    """`10m` and the like. Raises ValueError."""
    match = EVERY.fullmatch(text)
    seconds = int(match[1]) * SECONDS[match[2]] if match else 0
    if seconds < LEAST:
        raise ValueError(f"--watch {text}: it must be a time like 30s, 10m or 2h, and at least {LEAST} s")
    return seconds


@contextmanager
def _session(choice: Choice, redactor: Redactor) -> Iterator[Session]:
    """With the server that was chosen."""
    remove_leftovers()
    with scratch_directory("doctor") as directory:
        run = Run(directory / "run", redactor)
        if not choice.is_remote:
            with open_session(run, choice) as session:
                yield session
            return
        host = choice.uplink.host if choice.uplink else LocalHost()
        with choice.open(host, run.logs) as server:
            yield Session(run, server, server.target, host, run.logs, choice, kind=None)


@dataclass(frozen=True)
class _View:
    """The place to look from, and the server as it is seen from there."""

    stage: Stage | LabStage
    host: Host
    network: Profile | None

    def look(self, parts: Collection[str], must: Collection[str], *, with_calls: bool) -> Diagnosis:
        look = look_at(self.stage.target, self.host, parts=parts)
        if self.network is not None:
            look = replace(look, network=self.network.name)
        found = diagnose(look, must)
        if not with_calls:
            return found
        return diagnose(replace(look, swarm=self._swarm(found), call=self._call(found)), must)

    def _swarm(self, found: Diagnosis) -> SwarmLook:
        if found.look.relay is None or not found.look.relay.admits_035:
            return SwarmLook("not tried", "not tried: no iroh relay was seen that lets nodes in")
        if why := _why_no_more(found):
            return SwarmLook("not tried", f"not tried: {why}")
        return look_at_swarm(self.host, found.look.relay)

    def _call(self, found: Diagnosis) -> CallLook:
        if why := _why_no_call(found):
            return CallLook("not tried", f"not tried: {why}")
        target = self.stage.target
        target.accounts.begin()
        offering = replace(target, capabilities=target.capabilities | OFFERED)
        return call_through_turn(replace(self.stage, target=offering), self.network)


def _why_no_more(found: Diagnosis) -> str:
    """Reason for which nothing is tried that takes longer than a look."""
    if found.of_weight(Weight.SICK):
        return "what was found explains what would come of it"
    return "what could not be told comes first" if found.unknown else ""


def _why_no_call(found: Diagnosis) -> str:
    """Reason for which no call is tried, or none could be."""
    if found.of_weight(Weight.SICK):
        return _why_no_more(found)
    if found.look.turn is None:
        return "TURN was not seen"
    if found.look.mail is None or "irohrelay" not in found.look.mail.keys:
        return "METADATA has no iroh relay, and real clients would go to one of somebody else"
    return _why_no_more(found)


@contextmanager
def _view(session: Session, network: Profile | None) -> Iterator[_View]:
    """From this machine, or from a device in an emulated network. Raises `NotAsItSays`, `MissingCapability`."""

    def keep(secret: str) -> None:
        if len(secret) >= SHORTEST_SECRET:
            session.run.redactor.add(secret)

    def known(target: Target) -> Target:
        accounts = target.accounts
        same = accounts if isinstance(accounts, GivenAccounts) else SameAccounts(accounts)
        return replace(target, on_secret=keep, accounts=same)

    stage = replace(session.stage("doctor"), target=known(session.target))
    if network is None:
        yield _View(stage, session.host, None)
        return
    self_test(network)
    with stage.lab() as lab:
        here = replace(lab, target=known(lab.target))
        yield _View(here, here.network.device("doctor", network), network)


def _show(diagnosis: Diagnosis, arguments: argparse.Namespace, redactor: Redactor) -> int:
    server = f"--server {arguments.server}" if arguments.server else ""
    say(redactor.text(as_json(diagnosis) if arguments.json else render(diagnosis, server)))
    _write_metrics(diagnosis, arguments.prometheus, redactor)
    return _code(diagnosis)


def _watch(
    look: Callable[[], Diagnosis], every: int, arguments: argparse.Namespace, redactor: Redactor
) -> int:
    """Until it is interrupted: the first look whole, then only what changes."""
    before: Diagnosis | None = None
    for found in watch(lambda: [look()], every=every):
        if before is None:
            _show(found, arguments, redactor)
        else:
            text = changes(before, found)
            if text:
                say(redactor.text(as_json(found) if arguments.json else text))
            _write_metrics(found, arguments.prometheus, redactor)
        before = found
    raise AssertionError("watching has no end")


def _write_metrics(diagnosis: Diagnosis, file: Path | None, redactor: Redactor) -> None:
    """Whole or not at all: the collector may read at any moment."""
    if file is None:
        return
    new = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        new.write_text(redactor.text(as_metrics(diagnosis)), encoding="utf-8")
        new.replace(file)
    except OSError as error:
        new.unlink(missing_ok=True)
        complain(f"--prometheus {file}: {error.strerror}")


def _code(diagnosis: Diagnosis) -> int:
    return FAILED if diagnosis.is_sick else UNDECIDED if diagnosis.unknown else PASSED
