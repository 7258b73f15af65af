"""The network changes while people talk: what they hear of it, what ends their call, and that the next one works."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from ..calls.call import Media, TalkResult
from ..evidence import expected
from ..evidence.expected import Expected
from ..network import profiles
from ..network.conditions import Applied, Conditions, apply
from ..network.profiles import Profile
from ..stage.check import check
from ..stage.outcome import Outcome
from ..stage.stage import Stage
from ..steps.call_judges import VIDEO, expect_active
from ..steps.call_lab import LabCallers, lab_callers
from ..steps.calls import (
    CALL_WITHIN,
    FAILURES,
    NEEDS,
    TURN_WORKS,
    account_now,
    machine_too_slow,
    set_up,
    talk,
)
from ..steps.changes import Change, blocked, moves_to, new_nat_mapping, outage
from ..steps.observed import link_seen
from ..steps.pauses import BEFORE, talk_across, wait_until_closed
from ..waiting import now

__all__ = [
    "BAD_LINKS",
    "DEADLY",
    "BadLink",
    "calls_on_bad_links_stay_up",
    "calls_survive_outages",
    "dead_calls_are_noticed_and_the_next_one_works",
]

ALICE, BOB, CAROL = "alice", "bob", "carol"
OUTAGES = {ALICE: profiles.HOME, BOB: profiles.SYMMETRIC, CAROL: profiles.HOME}
"""alice's calls to bob are relayed, those to carol are direct."""


@check("TURN-10", needs=(*NEEDS, "lab"), after=TURN_WORKS)
def calls_survive_outages(
    stage: Stage, _outcome: Outcome, outages: Sequence[float] = (3.0,), callees: Sequence[str] = (BOB,)
) -> None:
    """For some seconds nothing of a call comes through, and addresses stay: then each side hears the other again.

    Where a side gives its call up before that, as libwebrtc does, both must notice, and the next call must work.
    """
    with stage.lab() as lab, lab_callers(lab, {name: OUTAGES[name] for name in (ALICE, *callees)}) as callers:
        for callee, seconds in itertools.product(callees, outages):
            callers.befriend(ALICE, callee)
            _outage(callers, callee, seconds)


def _outage(callers: LabCallers, callee: str, seconds: float) -> None:
    outcome, lost = callers.outcome, Counter[str]()
    name = f"{seconds:g} s of outage, {ALICE} and {callee}"
    wanted = expected.of_call(OUTAGES[ALICE], OUTAGES[callee], moves=callers.moves(ALICE, callee))
    if seconds > (longest := callers.gives_up_after(ALICE, callee)):
        outcome.note(f"{name}: a side gives the call up after {longest:g} s")
        _dies(callers, name, (ALICE, callee), outage(seconds, ("udp",)), media=Media(), wanted=wanted)
        return
    hosts = [callers.people.hosts[each] for each in (ALICE, callee)]
    with callers.watched(name, Media(), ALICE, callee, wanted=wanted, lost=lost) as call:
        pause, talked = talk_across(
            call, seconds, partial(blocked, *hosts, protocols=("udp",)), "no UDP came through"
        )
        lost.update(pause.sent_into_it)
        account_now(callers, name, call, talked, talked.path)
        expect_active(outcome, name, call.ringing.states)
    pause.judge(outcome, talked)


@dataclass(frozen=True)
class BadLink:
    """Conditions in both directions of the link of one side, and the limits that a call over it must keep to."""

    conditions: Conditions
    most_lost: float = 0.02
    """Share of the RTP packets."""
    most_delay: float = 0.2
    """Seconds, of most audio frames; without the link it is less than 0.1."""
    video: bool = False


BAD_LINKS: Mapping[str, BadLink] = {
    "5 % loss": BadLink(Conditions(loss=0.05, seed=5), most_lost=0.12),
    "200 ms": BadLink(Conditions(delay_ms=200), most_delay=0.45),
    "1 Mbit/s": BadLink(Conditions(rate_kbit=1000), most_delay=0.4, video=True),
}
LOSS = ("5 % loss",)
SECONDS_ON_BAD_LINKS = 4.0


@check("TURN-10", needs=(*NEEDS, "lab"), after=TURN_WORKS)
def calls_on_bad_links_stay_up(stage: Stage, _outcome: Outcome, links: Sequence[str] = LOSS) -> None:
    """A relayed call over a lossy, slow or narrow link stays up, and degrades no more than the link."""
    places = {ALICE: profiles.HOME, BOB: profiles.SYMMETRIC}
    with stage.lab() as lab, lab_callers(lab, places) as callers:
        callers.befriend(ALICE, BOB)
        for name in links:
            _bad_link(callers, name, BAD_LINKS[name])


def _bad_link(callers: LabCallers, name: str, link: BadLink) -> None:
    outcome, lost = callers.outcome, Counter[str]()
    media = Media(video=VIDEO if link.video else None, policy="relay")
    with callers.watched(name, media, ALICE, BOB, lost=lost) as call:
        with apply(callers.people.hosts[ALICE].link, up=link.conditions, down=link.conditions) as applied:
            talked = talk(call, SECONDS_ON_BAD_LINKS, numbers=0)
        lost.update(_taken(applied))  # whatever it took until it was removed
        account_now(callers, name, call, talked)
        expect_active(outcome, name, call.ringing.states)
    outcome.observe(link_seen(name, link.conditions, taken_up=lost[ALICE], taken_down=lost[BOB]))
    if link.conditions.seed is not None:
        outcome.seed = link.conditions.seed
    for side, report in talked.reports.items():
        sent = report.packets + report.packets_lost
        outcome.expect(
            report.packets > 0 and report.packets_lost <= link.most_lost * sent,
            f"{name}: of {sent} packets to {side} {report.packets_lost} were lost, at most "
            f"{link.most_lost:.0%} may be",
        )
        delay = report.audio.delay if report.audio else None
        outcome.expect(
            delay is not None and delay <= link.most_delay,
            f"{name}: {side} hears the other after {delay} s, at most {link.most_delay:g} s may be",
        )


def _taken(applied: Applied) -> dict[str, int]:
    """Packets that the link of alice has taken away, by who had sent them."""
    lost = applied.lost()
    return {ALICE: lost["up"].packets, BOB: lost["down"].packets}


@dataclass(frozen=True)
class Deadly:
    """A change that takes the way of a call away for good, and the network of the caller."""

    caller: Profile
    change: Change


DEADLY: Mapping[str, Deadly] = {
    "the NAT forgets": Deadly(profiles.SYMMETRIC, new_nat_mapping),
    "wifi to mobile": Deadly(profiles.HOME, moves_to(profiles.MOBILE)),
}
"""TURN killed and started again is one more: `calls_interrupted`."""


@check("TURN-10", needs=(*NEEDS, "lab"), after=TURN_WORKS)
def dead_calls_are_noticed_and_the_next_one_works(
    stage: Stage, outcome: Outcome, changes: Sequence[str] = tuple(DEADLY)
) -> None:
    """A NAT forgets its mappings, or a phone leaves its wifi: both sides notice in 45 s, and the next call works."""
    places = {f"{ALICE} ({name})": DEADLY[name].caller for name in changes}
    places |= {f"{BOB} ({name})": profiles.HOME for name in changes}
    with (
        stage.lab() as lab,
        lab_callers(lab, places) as callers,
        ThreadPoolExecutor(stage.session.choice.peers.at_once(len(changes))) as pool,
    ):
        for found in pool.map(lambda name: _survive(callers.apart(), name, DEADLY[name].change), changes):
            outcome.include(found)


def _survive(callers: LabCallers, name: str, change: Change) -> Outcome:
    outcome = callers.outcome
    caller, callee = (f"{who} ({name})" for who in (ALICE, BOB))
    with outcome.expect_to_arrive(*FAILURES, what=name):
        callers.befriend(caller, callee)
        media = Media(policy="relay")
        _dies(callers, name, (caller, callee), change, media=media, wanted=expected.BY_POLICY)
    return outcome


def _dies(
    callers: LabCallers,
    name: str,
    sides: tuple[str, str],
    change: Change,
    *,
    media: Media,
    wanted: Expected,
) -> None:
    """A change under the caller ends a call: both sides must notice, and the next call take the way that is wanted."""
    outcome = callers.outcome
    caller = callers.devices[sides[0]]
    with callers.with_peers(name, *sides) as both:
        call = set_up(outcome, name, *both, media)
        with machine_too_slow():
            call.play_on(BEFORE)
        happened = now()
        change(callers.people, caller)
        wait_until_closed(outcome, name, call, happened)
        caller.account.go_offline()  # its connections to mail may have died as well, which core would notice late
        caller.account.bring_online(within=CALL_WITHIN)
        call.hang_up(within=CALL_WITHIN)
    with callers.watched(f"after {name}", media, *sides, wanted=wanted) as call:
        talked = talk(call, BEFORE, numbers=0)
    _expect_heard(outcome, f"after {name}", talked)


def _expect_heard(outcome: Outcome, name: str, talked: TalkResult) -> None:
    for side, report in talked.reports.items():
        heard = report.audio is not None and report.audio.known > 0
        outcome.expect(heard, f"{name}: {side} hears nothing in the next call")
