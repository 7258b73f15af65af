"""Calls between devices in a lab, each in a network of its own: which way a call took, by all who counted."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from ..calls.balance import path_of
from ..calls.call import Call, Media, TalkResult, place
from ..calls.peers import NoRelayCandidate, Stats
from ..evidence import paths
from ..evidence.egress import DirectTraffic, Egress
from ..evidence.expected import BY_POLICY, Expected
from ..evidence.verdicts import ObservedPath, PathVerdict
from ..network.profiles import Profile
from ..report.artefacts import keep
from ..stage.lab import LabStage, People
from ..stage.outcome import promised
from ..stage.watch import Watch
from ..target import Service
from ..waiting import WaitTimeout
from .calls import CALL_WITHIN, FAILURES, Callers, Servers, check_set_up, ice_servers_of, set_up, talk
from .observed import call_seen, path_seen

__all__ = ["CallAttempt", "LabCallers", "lab_callers", "takes_path"]

progress = logging.getLogger("harness.progress")

PHASE = "media"


@dataclass(frozen=True)
class CallAttempt:
    """Everything that is known of one call that was tried."""

    path: ObservedPath
    egress: Egress
    refused: str
    """Reason for which there was no call; empty if there was one."""
    talked: TalkResult | None
    in_the_end: str = "none"
    """See `LabCallers.in_the_end`."""

    @property
    def legs(self) -> int:
        """Sides that have an allocation in use; the other one, if any, sends to a relayed transport address."""
        if self.talked is None:
            return 0
        pairs = [each.pair for each in self.talked.stats.values()]
        return sum(pair is not None and pair.local == "relay" for pair in pairs)


@dataclass(frozen=True)
class LabCallers(Callers):
    """Callers in a lab, and who counts what passes between them."""

    people: People

    def attempt(
        self,
        name: str,
        caller: str,
        callee: str,
        *,
        seconds: float,
        servers: Servers | None = None,
        policy: Literal["all", "relay"] | None = None,
    ) -> CallAttempt:
        """Call and talk for so long, and ask all witnesses which way the media took. The two must be befriended.

        That there is no call is one of the answers. Two calls with a device in common cannot be tried at the same time.
        `servers`: others than those that the cores gave; `policy`: that of the caller, where both have another.
        Raises `MachineTooSlow`.
        """
        refused, talked = "", None
        agents: Mapping[str, paths.ClientCounts] | None = None
        with self.with_peers(name, caller, callee, servers=servers) as (one, other):
            with self._watch(caller, callee) as seen:
                try:
                    ringing = place(one.limited_to(policy), other, Media(), within=CALL_WITHIN)
                    call = ringing.accept(within=CALL_WITHIN)
                except (NoRelayCandidate, WaitTimeout) as error:
                    if isinstance(error, WaitTimeout):
                        check_set_up(one, other)
                    refused = str(error)
                    if self.people.lab.server_host is None:  # nobody else counts there: that both are silent
                        said = {each.name: each.peer for each in (one, other) if each.peer.has_connection}
                        agents = paths.client_counts({name: agent.stats() for name, agent in said.items()})
                else:
                    talked = talk(call, seconds, numbers=0)
                    self.outcome.observe(call_seen(name, call.ringing.phases, talked.path))
                    call.hang_up(within=CALL_WITHIN)
                    agents = _counts(call)
            path = self._kept(seen, name, agents)
        in_the_end = "none" if talked is None else self.in_the_end(talked.stats)
        return CallAttempt(path, seen.egress(_direct_traffic(path, in_the_end)), refused, talked, in_the_end)

    def moves(self, *names: str) -> bool:
        """True if the peer of one of these devices moves a call to the best way that it finds."""
        return any(self.stage.session.choice.peers.for_device(name).moves for name in names)

    def in_the_end(self, stats: Mapping[str, Stats]) -> str:
        """Path by the pairs of candidates that were used at last: of those peers that move a call, if there are any.

        aioice stays with the first, and sends through TURN to the end even where libwebrtc has moved to a direct way.
        """
        moving = [each.pair for name, each in stats.items() if self.moves(name)]
        return path_of(moving or [each.pair for each in stats.values()])

    def gives_up_after(self, *names: str) -> float:
        """Seconds of an outage that ends a call between these devices for good, at the earliest."""
        return min(self.stage.session.choice.peers.for_device(name).gives_up_after for name in names)

    @contextmanager
    def watched(
        self,
        name: str,
        media: Media,
        caller: str,
        callee: str,
        *,
        wanted: Expected = BY_POLICY,
        lost: Mapping[str, int] | None = None,
    ) -> Iterator[Call]:
        """As `calling`; and at the end the media must have taken the way that is wanted, by all witnesses.

        `lost`: packets of each sender, by name, that the lab itself took away; it may grow until the end of the block.
        """
        lost = Counter() if lost is None else lost
        with self.with_peers(name, caller, callee) as both:
            with self._watch(caller, callee) as seen:
                call = set_up(self.outcome, name, *both, media)
                yield call
                call.hang_up(within=CALL_WITHIN)
                agents = _counts(call)
                in_the_end = self.in_the_end({side.name: side.peer.stats() for side in call.sides})
            path = self._kept(seen, name, agents, lost)
        self.outcome.expect(
            takes_path(path, wanted, in_the_end),
            f"{name}: the call should be {wanted.verdict}, it is {path.sentence}",
        )
        went = seen.egress(_direct_traffic(path, in_the_end))
        self.outcome.expect(went, f"{name}: a device went elsewhere: {went}")

    def _watch(self, *names: str) -> Watch:
        return self.people.watch(PHASE, Service.TURN, *(self.devices[name] for name in names))

    def _kept(
        self,
        seen: Watch,
        name: str,
        agents: Mapping[str, paths.ClientCounts] | None,
        lost: Mapping[str, int] | None = None,
    ) -> ObservedPath:
        path = seen.path_of_call(agents, lost=lost)
        in_record = path_seen(path, seen.parties, subject=name)
        self.outcome.observe(in_record)
        self.outcome.evidence += keep(in_record, self.stage.logs, f"{PHASE} {name}")
        return path


@contextmanager
def lab_callers(lab: LabStage, places: Mapping[str, Profile]) -> Iterator[LabCallers]:
    """A device in each of these networks, by name; nobody is befriended yet.

    What does not arrive in time is a failure of the target.
    """
    with lab.people(**places) as people, promised(*FAILURES):
        assert people.offers.turn is not None, "calls need TURN"
        servers = ice_servers_of(people, people.offers.turn, lab)
        yield LabCallers(lab, people.devices, servers, people)


def takes_path(path: ObservedPath, wanted: Expected, in_the_end: str) -> bool:
    """A call that must be relayed is relayed by TURN, and nothing of it arrived directly.

    `in_the_end`: see `LabCallers.in_the_end`.
    """
    if wanted.verdict is PathVerdict.RELAYED:
        return path.is_relayed_by(Service.TURN) and path.delivered_directly == 0
    if wanted.may_stay_relayed and path.is_relayed_by(Service.TURN):
        return True
    if wanted.begins_relayed and path.verdict is PathVerdict.MIXED:
        return path.by == (Service.TURN,) and in_the_end == PathVerdict.DIRECT
    return path.verdict is wanted.verdict


def _direct_traffic(path: ObservedPath, in_the_end: str) -> DirectTraffic:
    moved = path.verdict is PathVerdict.MIXED and in_the_end == PathVerdict.DIRECT
    return DirectTraffic.ALL if path.is_direct or moved else DirectTraffic.CONNECTIVITY_CHECKS


def _counts(call: Call) -> dict[str, paths.ClientCounts]:
    """The counts of both agents; they can still be asked when the call has ended."""
    return paths.client_counts({side.name: side.peer.stats() for side in call.sides})
