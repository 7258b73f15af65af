"""Two right servers in a world that is wrong: what `federation.mail_goes_both_ways_once` says of each fault.

These are no deployments of `mutants.deployments`, which the doctor looks at: it asks one server, and never port 25.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from harness.checks import federation as checks
from harness.network.conditions import Conditions, apply
from harness.network.names import Refusal
from harness.report.records import Verdict
from harness.report.run import Run
from harness.stage.lab import LabStage
from harness.stage.session import open_session
from harness.steps.federation import Mailbox, federation

NAME, KEY = "_two.example", "opendkim._domainkey._one.example"
NOBODY = "203.0.113.99"
AWAY = "by name: a mail of the other server does not arrive"
RETURNED_WITHIN = 12.0
"""Seconds in which a mail that arrives at all is there, on a machine that is not busy."""
EDGE = """\
table inet edge {{
    chain arriving {{
        type filter hook prerouting priority mangle
        tcp dport 25 {verdict}
    }}
}}
"""
Servers = tuple[LabStage, ...]


def nothing(_servers: Servers) -> None:
    """Leave the world as it is."""


def port_25_filtered(servers: Servers) -> None:
    servers[1].machine.namespace.nft(EDGE.format(verdict="drop"))


def port_25_refused(servers: Servers) -> None:
    servers[1].machine.namespace.nft(EDGE.format(verdict="reject with tcp reset"))


def no_key_of_dkim(servers: Servers) -> None:
    servers[0].network.names.fail(KEY, Refusal.NXDOMAIN)


def first_mx_dead(servers: Servers) -> None:
    names = servers[0].network.names
    names.set("dead.example", NOBODY)
    names.publish(NAME, "MX", "10 dead.example.", f"20 {NAME}.")


def every_mx_dead(servers: Servers) -> None:
    names = servers[0].network.names
    names.set("dead.example", NOBODY)
    names.publish(NAME, "MX", "10 dead.example.")


def mx_does_not_exist(servers: Servers) -> None:
    servers[0].network.names.publish(NAME, "MX", "10 nowhere.example.")


FAULTS: Mapping[Callable[[Servers], None], str] = {
    nothing: "",
    first_mx_dead: "",
    port_25_filtered: AWAY,
    port_25_refused: AWAY,
    no_key_of_dkim: AWAY,
    every_mx_dead: AWAY,
    mx_does_not_exist: AWAY,
}
"""Words of the check; empty: it passes."""


def in_a_world(arrange: Callable[[Servers], None]) -> Any:
    """`federation`, in which servers with names of their own find the world as `arrange` leaves it."""

    @contextmanager
    def disturbed(*args: Any, named: bool, **kwargs: Any) -> Iterator[Servers]:
        with federation(*args, named=named, **kwargs) as servers:
            if named:
                arrange(servers)
            yield servers

    return disturbed


@pytest.mark.parametrize("arrange", FAULTS, ids=lambda each: each.__name__)
def test_mail_between_servers_in_a_wrong_world(arrange, monkeypatch, tmp_path):
    words = FAULTS[arrange]
    monkeypatch.setattr(checks, "federation", in_a_world(arrange))
    if words:
        monkeypatch.setitem(Mailbox.wait_for.__kwdefaults__, "within", RETURNED_WITHIN)
    with open_session(Run(tmp_path / "run")) as session:
        outcome = checks.mail_goes_both_ways_once(session.stage("federation"))
    if not words:
        assert outcome, outcome
        return
    assert outcome.verdict is Verdict.FAILED, outcome
    assert words in outcome.reason


def test_a_slow_link_makes_mail_late_and_loses_none(monkeypatch, tmp_path):
    slow = Conditions(rate_kbit=64, delay_ms=500)

    @contextmanager
    def over_a_slow_link(*args: Any, **kwargs: Any) -> Iterator[Servers]:
        with federation(*args, **kwargs) as servers, apply(servers[1].machine.link, up=slow, down=slow):
            yield servers

    monkeypatch.setattr(checks, "federation", over_a_slow_link)
    with open_session(Run(tmp_path / "run")) as session:
        outcome = checks.mail_goes_both_ways_once(session.stage("federation"))
    assert outcome, outcome
