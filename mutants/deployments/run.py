"""One fault on one layout: what the doctor names, and which checks are red."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest import mock

from harness.causes.cause import Weight
from harness.diagnosis.diagnosis import diagnose
from harness.doors.catalogue import all_checks
from harness.errors import plain
from harness.hosts import Host, MissingCapability
from harness.look.look import look_at as look
from harness.look.swarm import look_at_swarm
from harness.network import lookup  # noqa: F401 - the name server of a lab has to answer at once, and this is slow to load
from harness.report.run import Run
from harness.servers.remote import remote_target
from harness.servers.server import RunningServer
from harness.stage.check import CHECKS
from harness.stage.options import Choice
from harness.stage.session import Session
from harness.stage.survey import look_up
from harness.target import Impact, Target

from .certificates import Authority
from .declaration import Fault, green_on
from .layouts import running, site_of
from .site import NAME, Site

__all__ = ["Seen", "as_a_stranger_sees_it", "disturbed", "look_at"]

log = logging.getLogger(__name__)
WORK = 0.05
"""Seconds of the processor."""


@dataclass(frozen=True)
class Seen:
    """Everything that was seen of one fault on one layout."""

    fault: str
    layout: str
    causes: tuple[str, ...] = ()
    """Named by the doctor as what makes the server sick, or as the one of two that cannot be told apart."""
    notes: tuple[str, ...] = ()
    """Named by the doctor besides."""
    unknown: tuple[str, ...] = ()
    """Sentences of the doctor on what it could not tell."""
    doctor_seconds: float = 0.0
    slowness: float = 1.0
    """Times that a piece of work took longer than its time of the processor, before the doctor looked or after it."""
    checks: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)
    """Verdict, reason and cause by name: of those that must be red, or where nothing is wrong, of those that must not.
    """
    missing: str = ""
    """Reason for which it cannot exist on this machine."""
    error: str = ""
    """Reason for which nothing was seen."""


def look_at(fault: Fault, layout: str, directory: Path) -> Seen:
    """Arrange the fault, start the server, and look at it from a machine elsewhere. `directory`: for files of it."""
    all_checks()  # importing them registers them
    seen = Seen(fault.name, layout)
    try:
        with disturbed(fault, layout, directory) as (site, server):
            operator = site.lab.server("operator")
            target = as_a_stranger_sees_it(site, server)
            with (
                mock.patch("certifi.where", lambda: str(_compiled_in(site, target))),
                # The operator's clock is right.
                mock.patch("harness.look.look.is_synchronized", lambda: True),
                mock.patch("harness.steps.clocks.is_synchronized", lambda: True),
            ):
                seen = _ask_doctor(seen, target, operator, fault)
                names = (*fault.red, *green_on(fault, layout))
                checks = dict(_run_checks(target, operator, fault, names, directory / "run"))
            return replace(seen, checks=checks)
    except MissingCapability as missing:
        return replace(seen, missing=str(missing))
    except Exception as error:
        log.exception("%s on %s was not looked at", fault.name, layout)
        return replace(seen, error=plain(error))


@contextmanager
def disturbed(fault: Fault, layout: str, directory: Path) -> Iterator[tuple[Site, RunningServer]]:
    """A running server of this layout with this fault."""
    with site_of(layout, directory) as site:
        fault.arrange(site)
        with running(site) as server:
            yield site, server


def as_a_stranger_sees_it(site: Site, server: RunningServer) -> Target:
    """By its name, on the standard ports, with the CAs that everybody knows."""
    known = site.directory / "known.pem"
    files = [site.authority.file, *([server.ca_file] if server.ca_file else [])]
    known.write_text("\n".join(file.read_text() for file in files))
    addresses = frozenset(site.machine.addresses)  # as the operator says by --also-ours
    return replace(remote_target(NAME, ca_file=known), impact=Impact.HARMFUL, other_addresses=addresses)


def _compiled_in(site: Site, target: Target) -> Path:
    """The CAs that iroh knows in this lab: all that the operator's machine knows, or some that no server here has."""
    if site.compiled_in and target.ca_file is not None:
        return target.ca_file
    other = site.directory / "elsewhere"
    other.mkdir(exist_ok=True)
    return Authority("a CA elsewhere", other).file


def _ask_doctor(seen: Seen, target: Target, operator: Host, fault: Fault) -> Seen:
    before = _slowness()
    seen_of_it = look(target, operator)
    if fault.swarm and seen_of_it.relay is not None:
        before_it = diagnose(seen_of_it, fault.must).of_weight(Weight.SICK)
        assert not before_it, "a look shows it without nodes that talk"
        seen_of_it = replace(seen_of_it, swarm=look_at_swarm(operator, seen_of_it.relay))
    diagnosis = diagnose(seen_of_it, fault.must)
    sick = diagnosis.of_weight(Weight.SICK)
    rivals = [rival for each in sick for rival in each.rivals]
    return replace(
        seen,
        causes=tuple(each.name for each in (*(named.cause for named in sick), *rivals)),
        notes=tuple(each.cause.name for each in diagnosis.causes if each not in sick),
        unknown=diagnosis.unknown,
        doctor_seconds=diagnosis.look.seconds,
        slowness=round(max(before, _slowness()), 1),
    )


def _slowness() -> float:
    began, worked = time.monotonic(), time.process_time()
    while time.process_time() - worked < WORK:
        pass
    return (time.monotonic() - began) / WORK


def _run_checks(
    target: Target, operator: Host, fault: Fault, names: tuple[str, ...], directory: Path
) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Each by itself: what a check before it names would explain it."""
    run = Run(directory)
    target = replace(target, on_secret=run.redactor.add)
    seen, _ = look_up(target, operator)
    target = replace(seen, capabilities=seen.capabilities | fault.must)
    server = RunningServer(NAME, {}, target=target)
    session = Session(run, server, target, operator, run.logs, Choice(domain=NAME), kind=None)
    for name in names:
        outcome = CHECKS[name].run(replace(session, results={}).stage(name))
        yield name, (outcome.verdict.value, outcome.reason, outcome.cause)
    run.finish()
