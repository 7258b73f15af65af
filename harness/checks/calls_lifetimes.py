"""Calls that are longer than what they live on: credentials, allocations, permissions and channels of TURN run out.

The server's numbers are scaled down, and the one of aioice that does not follow from them alike: it binds a channel
again after 500 of its 600 seconds.
"""

from __future__ import annotations

import time
from dataclasses import asdict

from ..calls.agent import Agent
from ..calls.call import Call, Media, Party
from ..calls.kinds import AIORTC
from ..calls.peers import NoRelayCandidate, Settings
from ..calls.quality import MachineTooSlow
from ..clients.turn.client import TurnClient, TurnError
from ..hosts import MissingCapability
from ..report.observations import Measured
from ..servers.server import TurnLifetimes, Wants
from ..stage.check import check
from ..stage.outcome import Outcome, PromiseBroken
from ..stage.stage import Stage
from ..steps.call_judges import talk_through_turn
from ..steps.calls import CALL_WITHIN, NEEDS, TURN_WORKS, Callers, friends, set_up
from ..steps.turn_exchange import allocated, expiry_of
from ..urls import TurnUrl
from ..waiting import WaitTimeout

__all__ = [
    "SHORT_LIVES",
    "relayed_call_outlives_credentials",
    "relayed_call_outlives_lifetimes",
]

SHORT_LIVES = TurnLifetimes(allocation=8, permission=4, channel=8)
SHORT_TTL = 14
"""Enough to set a call up (two cores start, befriend each other and ring), and then to refresh its channels once.

Where credentials expire before that, a server that refuses them then is asked again with each packet, stops answering,
and is seen to go silent instead of to refuse.
"""
ASKED = 600
"""Seconds; the lifetime that aioice asks for."""
REFRESHED = 500 / 600
"""Part of a lifetime after which aioice refreshes an allocation, and a channel."""
LONGEST_CALL = 60.0
"""Seconds that a call lasts, unless the caller of a check asks for another length."""
NOT_SCALED = "libwebrtc renews permissions every 4 minutes, however short the server lets them live"
PAUSE = 1.0
"""Seconds that an agent may stand still here: its refreshes have 8 / 6 s to spare."""


@check("TURN-10", needs=NEEDS, wants=Wants(turn_lifetimes=SHORT_LIVES), after=TURN_WORKS)
def relayed_call_outlives_lifetimes(stage: Stage, outcome: Outcome, seconds: float | None = None) -> None:
    """A call goes on without a gap while its allocations, permissions and channels at TURN run out, twice each.

    `seconds`: how long to talk, instead of a little more than twice the longest lifetime.
    """
    stage.session.choice.peers.require_only(AIORTC, NOT_SCALED)
    lives = _lifetimes(stage)
    longest = max(lives.allocation, lives.permission, lives.channel)
    length = seconds or _affordable(stage, 2 * longest + 2)
    with friends(stage) as callers, callers.calling("long", _media(lives)) as call:
        _talk_on(callers, call, "long", seconds=length)
        outcome.expect(outcome, f"a call must outlive what it lives on: {_shown(lives)}")


@check(
    "TURN-4",
    needs=NEEDS,
    wants=Wants(turn_ttl=SHORT_TTL, turn_lifetimes=SHORT_LIVES),
    after=(*TURN_WORKS, "turn.turn_credentials_expire"),
)
def relayed_call_outlives_credentials(stage: Stage, outcome: Outcome) -> None:
    """A call goes on when the credentials that it was made with have expired; a new one gets no relay any more."""
    stage.session.choice.peers.require_only(AIORTC, NOT_SCALED)
    expiry_of(stage.own_turn(), stage.target)
    lives = _lifetimes(stage)
    beyond = _affordable(stage, lives.allocation + 1)
    with friends(stage) as callers:
        expiries = [int(each.username or "0") for servers in callers.servers.values() for each in servers]
        with callers.with_peers("cliff") as both:
            call = _set_up_in_time(outcome, *both, _media(lives), min(expiries))
            _talk_on(callers, call, "cliff", seconds=round(max(expiries) + beyond - time.time(), 1))
            outcome.expect(outcome, "a call must outlive the credentials it was made with")
            _expect_no_new_relay(callers)
            call.hang_up(within=CALL_WITHIN)


def _lifetimes(stage: Stage) -> TurnLifetimes:
    """That of an allocation as the server grants it, the others as it says."""
    offer = stage.own_turn()
    url = TurnUrl("udp", offer.host, offer.port)
    try:
        with allocated(TurnClient(stage.host, url, offer.credentials)) as peer:
            granted = peer.client.refresh(ASKED)
    except (TurnError, WaitTimeout) as error:
        raise PromiseBroken(str(error)) from error
    target = stage.target
    lives = TurnLifetimes(granted, target.turn_permission_lifetime, target.turn_channel_lifetime)
    for name, seconds in asdict(lives).items():
        stage.outcome.observe(Measured("lifetime", seconds, "s", subject=name))
    return lives


def _shown(lives: TurnLifetimes) -> str:
    return (
        f"allocations live {lives.allocation:g} s, permissions {lives.permission:g} s, "
        f"channels {lives.channel:g} s"
    )


def _media(lives: TurnLifetimes) -> Media:
    """A relayed call whose channels are refreshed in time."""
    return Media(policy="relay", channel_refresh=lives.channel * REFRESHED)


def _affordable(stage: Stage, seconds: float) -> float:
    if seconds > LONGEST_CALL:
        raise MissingCapability(
            "short_turn_lifetimes",
            f"what {stage.target.name} grants lives so long that a call that outlives it takes {seconds:.0f} s",
            heal="start the server with short lifetimes of allocations, permissions and channels",
        )
    return seconds


def _talk_on(callers: Callers, call: Call, name: str, *, seconds: float) -> None:
    callers.outcome.observe(Measured("talked for", seconds, "s", subject=name))
    talk_through_turn(callers, call, name, seconds=seconds, longest_pause=PAUSE)


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
    outcome.observe(Measured("up before the credentials expire", round(left, 1), "s"))
    if left <= 0:
        raise MachineTooSlow(f"machine too slow (the call was up {-left:.1f} s after the expiry)")
    return call


def _expect_no_new_relay(callers: Callers) -> None:
    """An agent of somebody who did not read METADATA again."""
    outcome, alice = callers.outcome, callers.devices["alice"]
    with Agent(callers.stage.logs / "call late", "late", host=alice.host) as late:
        outcome.evidence.append(late.log_file)
        try:
            late.offer(Settings(callers.servers[alice.name], 1, 2, policy="relay"))
        except NoRelayCandidate as refused:
            outcome.observe(Measured("answer to expired credentials", str(refused)))
            outcome.expect("401" in str(refused), f"with expired credentials: {refused}, instead of 401")
        else:
            outcome.expect(False, "TURN grants a new call a relay with credentials that have expired")
