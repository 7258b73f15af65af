"""Calls between real Delta Chat cores whose media goes through the target's own TURN server, or leaves it alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Literal

from ..calls.balance import MOST_BYTES_OF_A_DIRECT_CALL, carried_since
from ..calls.call import Media, Ringing, place
from ..calls.servers import TURNS_KEY, transport_override
from ..clients.core.core import CallMessage, CoreError, SendFailed, befriend
from ..clients.device import Device
from ..report.observations import Measured
from ..servers.server import Unsupported
from ..stage.check import check
from ..stage.outcome import Outcome, promised
from ..stage.stage import Stage
from ..steps.call_judges import judge_audio, judge_balance, judge_relayed_call, observe_path
from ..steps.call_windows import further_window
from ..steps.calls import CALL_WITHIN, NEEDS, TURN_WORKS, account_now, friends, talk
from ..steps.observed import call_seen

__all__ = [
    "calls_ring_and_end",
    "core_lists_the_offered_servers",
    "direct_call_leaves_the_relay_alone",
    "relayed_call_is_heard_and_seen",
    "relayed_call_over_tcp_and_tls",
    "second_device_closes_its_window",
    "second_device_is_told_of_the_answer",
]


@check("DISC-5", "TURN-8", needs=("iroh_relay", "turn"))
def core_lists_the_offered_servers(stage: Stage, outcome: Outcome) -> None:
    """Each core names, for a call, exactly the TURN server of METADATA: neither nothing, nor anybody else's."""
    with friends(stage) as callers:
        for name, servers in callers.servers.items():
            urls = ", ".join(url for each in servers for url in each.urls)
            outcome.observe(Measured("ICE servers", urls, subject=name))


@check("TURN-10", "E2E-path", needs=NEEDS, after=TURN_WORKS)
def relayed_call_is_heard_and_seen(stage: Stage, _outcome: Outcome) -> None:
    """A call with no way but TURN: each side hears and sees the other whole, and every packet is accounted for."""
    with friends(stage) as callers:
        judge_relayed_call(callers, "relayed")


@check("TURN-5", "TURN-10", needs=NEEDS, after=TURN_WORKS)
def relayed_call_over_tcp_and_tls(stage: Stage, outcome: Outcome) -> None:
    """An ability of the server that no Delta Chat client uses yet: core's credentials carry a call over TCP and TLS."""
    outcome.note("no Delta Chat client calls over TCP or TLS yet: this is what the server could do")
    streams = _streams(stage)
    if not streams:
        raise Unsupported(f"{stage.target.name} has TURN over UDP alone")
    with friends(stage) as callers:
        for transport, port in streams.items():
            servers = {
                name: transport_override(each, transport, port) for name, each in callers.servers.items()
            }
            judge_relayed_call(replace(callers, servers=servers), f"over-{transport}", video=False)


@check("E2E-path", needs=NEEDS, after=TURN_WORKS)
def direct_call_leaves_the_relay_alone(stage: Stage, outcome: Outcome) -> None:
    """Two devices with a way to each other call without TURN, which then carries next to nothing."""
    with friends(stage) as callers:
        known = callers.ledger
        with callers.calling("direct", Media()) as call:
            talked = talk(call)
            balance = account_now(callers, "direct", call, talked, "direct")
        judge_balance(outcome, "direct", balance)
        outcome.expect(talked.path == "direct", f"the call should be direct, it is {talked.path}")
        if known is not None and (ledger := callers.ledger) is not None:
            leaked = carried_since(known, ledger).bytes
            outcome.observe(Measured("carried by TURN", leaked, "bytes"))
            outcome.expect(
                leaked < MOST_BYTES_OF_A_DIRECT_CALL,
                f"the call is direct, but the server carried {leaked} bytes of it",
            )
        observe_path(callers, "direct", talked.path)


@check("TURN-10", needs=NEEDS, after=TURN_WORKS)
def calls_ring_and_end(stage: Stage, outcome: Outcome) -> None:
    """Either side calls through TURN; the other declines, takes it and hangs up, or the caller gives up: both know."""
    with friends(stage) as callers:
        for how, (end, at_caller, at_callee) in ENDS.items():
            for caller, callee in (("alice", "bob"), ("bob", "alice")):
                name = f"{how}-call-of-{caller}"
                with callers.with_peers(name, caller, callee) as both:
                    ringing = place(*both, Media(policy="relay"), within=CALL_WITHIN)
                    _expect_states(outcome, name, ringing, "Alerting", "Alerting")
                    end(ringing)
                    outcome.observe(call_seen(name, ringing.phases))
                    _expect_states(outcome, name, ringing, at_caller, at_callee)


@check("MAIL-2", needs=("iroh_relay",))
def second_device_is_told_of_the_answer(stage: Stage, outcome: Outcome) -> None:
    """Bob has two devices, and both ring: as soon as he takes or declines the call on one, the other is told."""
    with stage.people("alice", "bob") as (alice, bob), ExitStack() as closed:
        alice.core.era.require_calls(alice.core.version)
        with promised(SendFailed, CoreError, what="alice and bob do not become contacts by secure join"):
            befriend(alice.account, bob.account)
        second = bob.second_device("bob2")
        closed.callback(lambda: outcome.evidence.extend(second.log_files))
        closed.callback(second.close)
        outcome.clients[second.name] = second.description
        for how, (act, told) in ON_ONE_DEVICE.items():
            offer = f"offer of a call that is {how}"
            calling = alice.account.place_call(bob.account, offer, has_video=False)
            with outcome.expect_to_arrive(what="a call does not ring on both devices"):
                first, other = (_ringing(each, offer) for each in (bob, second))
            if not outcome:
                return
            act(first)
            with outcome.expect_to_arrive(what=f"the call is {how} on one device, and the other rings on"):
                second.account.wait_for(told, "the end of ringing", within=CALL_WITHIN, msg_id=other.msg_id)
            calling.end()


@check("MAIL-2", "TURN-10", needs=NEEDS, after=TURN_WORKS, windows=("bob",))
def second_device_closes_its_window(stage: Stage, outcome: Outcome) -> None:
    """Delta Chat's call window rings on both of bob's devices: he takes the call on one, and the other's closes."""
    name = "taken on one of two devices"
    with friends(stage) as callers, ExitStack() as closed, callers.with_peers(name) as both:
        second = callers.devices["bob"].second_device("bob2")
        closed.callback(lambda: outcome.evidence.extend(second.log_files))
        closed.callback(second.close)
        with further_window(outcome, name, second, callers.logs_of(name)) as window:
            ringing = place(*both, Media(), within=CALL_WITHIN)
            other = _ringing(second, ringing.offer)
            window.ring(ringing.callee.settings(ringing.media, ringing.caller), ringing.offer)
            call = ringing.accept(within=CALL_WITHIN)
            second.account.wait_for(
                "IncomingCallAccepted", OTHER_KNOWS, within=CALL_WITHIN, msg_id=other.msg_id
            )
            window.dismiss()
            talked = talk(call)
            call.hang_up(within=CALL_WITHIN)
    for side, report in talked.reports.items():
        judge_audio(outcome, side, report)


def _taken(ringing: Ringing) -> None:
    ringing.accept(within=CALL_WITHIN).hang_up(ringing.callee, within=CALL_WITHIN)


ENDS: Mapping[str, tuple[Callable[[Ringing], None], str, str]] = {
    "declined": (lambda ringing: ringing.decline(within=CALL_WITHIN), "Declined", "Declined"),
    "cancelled": (lambda ringing: ringing.cancel(within=CALL_WITHIN), "Canceled", "Missed"),
    "taken": (_taken, "Completed", "Completed"),
}
"""Ways to end a call, and the state that the user of the caller and of the callee sees then."""


OTHER_KNOWS = "bob's other device to be told that he took the call"
ON_ONE_DEVICE: Mapping[str, tuple[Callable[[CallMessage], None], str]] = {
    "taken": (lambda call: call.accept("answer"), "IncomingCallAccepted"),
    "declined": (CallMessage.end, "CallEnded"),
}
"""What bob does with a call, and the event by which his other device is told."""


def _ringing(device: Device, offer: str) -> CallMessage:
    ring = device.account.wait_for("IncomingCall", within=CALL_WITHIN, place_call_info=offer)
    return CallMessage(device.account, ring["msg_id"])


def _streams(stage: Stage) -> Mapping[Literal["tcp", "tls"], int | None]:
    """Transports to call over, each with its port; None: that of core's servers.

    Of a server whose listeners are not known, those that METADATA lets expect.
    """
    listening = {url.transport for url in stage.target.turn} or {"tcp", "tls"}
    found: dict[Literal["tcp", "tls"], int | None] = {}
    if "tcp" in listening:
        found["tcp"] = None
    if "tls" in listening and "turns" in stage.target.capabilities:
        found["tls"] = stage.own_turn(TURNS_KEY).port
    return found


def _expect_states(outcome: Outcome, which: str, ringing: Ringing, caller: str, callee: str) -> None:
    expected = {ringing.caller.name: caller, ringing.callee.name: callee}
    outcome.expect(ringing.states == expected, f"{which}: the users see {ringing.states}, not {expected}")
