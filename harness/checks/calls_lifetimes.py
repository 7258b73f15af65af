"""Calls that are longer than what they live on: credentials, allocations, permissions and channels of TURN run out.

The server's numbers are scaled down, and the one of aioice that does not follow from them alike: it binds a channel
again after 500 of its 600 seconds.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from ..calls.agent import Agent, NoRelayCandidate, Settings
from ..calls.call import Call, Media, Party
from ..calls.quality import MachineTooSlow
from ..clients.turn.client import TurnClient, TurnError
from ..hosts import Host, MissingCapability
from ..stage.session import DeviceFactory
from ..steps.calls import CALL_WITHIN, Friends, need_agents, seated, set_up, talk_through_turn, with_friends
from ..steps.outcome import Outcome, PromiseBroken, check
from ..steps.turn_exchange import allocated
from ..target import Target
from ..urls import TurnUrl
from ..waiting import WaitTimeout
from .discovery import offered_turn
from .turn import expiry_of

__all__ = [
    "SHORT_LIVES",
    "SHORT_TTL",
    "relayed_call_outlives_credentials",
    "relayed_call_outlives_lifetimes",
]

SHORT_LIVES = (
    *("--turn-default-lifetime", "8", "--turn-max-lifetime", "8"),
    *("--turn-permission-lifetime", "4", "--turn-channel-lifetime", "8"),
)
SHORT_TTL = (*SHORT_LIVES, "--turn-ttl", "10")
"""Enough to set a call up: two cores start, befriend each other and ring."""
ASKED = 600
"""Seconds; the lifetime that aioice asks for."""
REFRESHED = 500 / 600
"""Part of a lifetime after which aioice refreshes an allocation, and a channel."""
LONGEST_CALL = 60.0
"""Seconds that a call lasts, unless the caller of a check asks for another length."""
PAUSE = 1.0
"""Seconds that an agent may stand still here: its refreshes have 8 / 6 s to spare."""


@dataclass(frozen=True)
class Lifetimes:
    """What a target gives agents, in seconds."""

    allocation: float
    permission: float
    channel: float

    @property
    def longest(self) -> float:
        return max(self.allocation, self.permission, self.channel)

    @property
    def media(self) -> Media:
        """Of a relayed call whose channels are refreshed in time."""
        return Media(policy="relay", channel_refresh=self.channel * REFRESHED)

    def __str__(self) -> str:
        return (
            f"allocations live {self.allocation:g} s, permissions {self.permission:g} s, "
            f"channels {self.channel:g} s"
        )


@check("TURN-10", needs=("iroh_relay", "turn"), server=SHORT_LIVES)
def relayed_call_outlives_lifetimes(
    target: Target, host: Host, devices: DeviceFactory, *, seconds: float | None = None
) -> Outcome:
    """A call goes on without a gap while its allocations, permissions and channels at TURN run out, twice each.

    `seconds`: how long to talk, instead of a little more than twice the longest lifetime.
    """
    need_agents()
    lifetimes = _lifetimes(target, host)
    length = seconds or _affordable(target, 2 * lifetimes.longest + 2)

    def judge(outcome: Outcome, friends: Friends) -> None:
        outcome.measurements["lifetimes"] = str(lifetimes)
        with seated(outcome, friends, "long") as (caller, callee):
            call = set_up(outcome, "long", caller, callee, lifetimes.media)
            _talk_on(
                outcome,
                target,
                call,
                "long",
                seconds=length,
                promise=f"a call must outlive what it lives on: {lifetimes}",
            )
            call.hang_up(within=CALL_WITHIN)

    return with_friends(target, host, devices, judge)


@check("TURN-4", needs=("iroh_relay", "turn"), server=SHORT_TTL)
def relayed_call_outlives_credentials(target: Target, host: Host, devices: DeviceFactory) -> Outcome:
    """A call goes on when the credentials that it was made with have expired; a new one gets no relay any more."""
    need_agents()
    expiry_of(offered_turn(target, host), target)
    lifetimes = _lifetimes(target, host)
    beyond = _affordable(target, lifetimes.allocation + 1)

    def judge(outcome: Outcome, friends: Friends) -> None:
        outcome.measurements["lifetimes"] = str(lifetimes)
        expiries = [int(each.username or "0") for servers in friends.servers.values() for each in servers]
        with seated(outcome, friends, "cliff") as (caller, callee):
            call = _set_up_in_time(outcome, caller, callee, lifetimes.media, min(expiries))
            length = round(max(expiries) + beyond - time.time(), 1)
            _talk_on(
                outcome,
                target,
                call,
                "cliff",
                seconds=length,
                promise="a call must outlive the credentials it was made with",
            )
            _expect_no_new_relay(outcome, friends)
            call.hang_up(within=CALL_WITHIN)

    return with_friends(target, host, devices, judge)


def _lifetimes(target: Target, host: Host) -> Lifetimes:
    """That of an allocation as the server grants it, the others as it says."""
    offer = offered_turn(target, host)
    url = TurnUrl("udp", offer.host, offer.port)
    try:
        with allocated(TurnClient(host, url, offer.credentials)) as peer:
            granted = peer.client.refresh(ASKED)
    except (TurnError, WaitTimeout) as error:
        raise PromiseBroken(str(error)) from error
    return Lifetimes(granted, target.turn_permission_lifetime, target.turn_channel_lifetime)


def _affordable(target: Target, seconds: float) -> float:
    if seconds > LONGEST_CALL:
        raise MissingCapability(
            "short_turn_lifetimes",
            f"what {target.name} grants lives so long that a call would have to last {seconds:.0f} s to outlive it",
            heal="start the server with a short --turn-default-lifetime and its like, or what it has for that",
        )
    return seconds


def _talk_on(
    outcome: Outcome, target: Target, call: Call, name: str, *, seconds: float, promise: str
) -> None:
    """What is wrong with the call is followed by the sentence of what was promised."""
    outcome.measurements["seconds"] = seconds
    talk_through_turn(outcome, target, call, name, seconds=seconds, longest_pause=PAUSE)
    outcome.expect(outcome, promise)


def _set_up_in_time(outcome: Outcome, caller: Party, callee: Party, media: Media, expires: int) -> Call:
    """Raises `MachineTooSlow` when the credentials have expired before the call is up."""
    try:
        call = set_up(outcome, "cliff", caller, callee, media)
    except (NoRelayCandidate, WaitTimeout) as error:
        if time.time() < expires:
            raise
        raise MachineTooSlow(
            f"machine too slow (the credentials expired before the call: {error})"
        ) from error
    left = expires - time.time()
    outcome.measurements["seconds_before_expiry"] = round(left, 1)
    if left <= 0:
        raise MachineTooSlow(f"machine too slow (the call was up {-left:.1f} s after the expiry)")
    return call


def _expect_no_new_relay(outcome: Outcome, friends: Friends) -> None:
    """An agent of somebody who did not read METADATA again."""
    alice = friends.alice
    with Agent(friends.logs / "call-late", "late", host=alice.host) as late:
        outcome.evidence.append(late.log_file)
        try:
            late.offer(Settings(friends.servers[alice.name], 1, 2, policy="relay"))
        except NoRelayCandidate as refused:
            outcome.measurements["new_allocation"] = str(refused)
            outcome.expect("401" in str(refused), f"with expired credentials: {refused}, instead of 401")
        else:
            outcome.expect(False, "TURN grants a new call a relay with credentials that have expired")
