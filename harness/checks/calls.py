"""Calls between real Delta Chat cores whose media goes through the target's own TURN server, or leaves it alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

from ..calls.balance import MOST_BYTES_OF_A_DIRECT_CALL, carried_since
from ..calls.call import Media, Ringing, place
from ..calls.servers import TURNS_KEY, transport_override
from ..hosts import Host
from ..stage.session import DeviceFactory
from ..steps.calls import (
    CALL_WITHIN,
    Friends,
    account_now,
    judge_balance,
    judge_relayed_call,
    measure,
    measure_phases,
    need_agents,
    seated,
    set_up,
    talk,
    turn_ledger_of,
    with_friends,
)
from ..steps.outcome import Outcome, check
from ..target import Target
from .discovery import offered_turn

__all__ = [
    "calls_ring_and_end",
    "core_lists_the_offered_servers",
    "direct_call_leaves_the_relay_alone",
    "relayed_call_is_heard_and_seen",
    "relayed_call_over_tcp_and_tls",
]


@check("DISC-5", "TURN-8", needs=("iroh_relay", "turn"))
def core_lists_the_offered_servers(target: Target, host: Host, devices: DeviceFactory) -> Outcome:
    """Each core names, for a call, exactly the TURN server of METADATA: neither nothing, nor anybody else's."""

    def judge(outcome: Outcome, friends: Friends) -> None:
        for name, servers in friends.servers.items():
            outcome.measurements[f"ice_servers_{name}"] = [url for each in servers for url in each.urls]

    return with_friends(target, host, devices, judge)


@check("TURN-10", "E2E-path", needs=("iroh_relay", "turn"))
def relayed_call_is_heard_and_seen(target: Target, host: Host, devices: DeviceFactory) -> Outcome:
    """A call with no way but TURN: each side hears and sees the other whole, and every packet is accounted for."""
    need_agents()
    return with_friends(
        target,
        host,
        devices,
        lambda outcome, friends: judge_relayed_call(outcome, target, friends, "relayed"),
    )


@check("TURN-5", "TURN-10", needs=("iroh_relay", "turn"))
def relayed_call_over_tcp_and_tls(target: Target, host: Host, devices: DeviceFactory) -> Outcome:
    """An ability of the server that no Delta Chat client uses yet: core's credentials carry a call over TCP and TLS."""
    need_agents()

    def judge(outcome: Outcome, friends: Friends) -> None:
        outcome.note("no Delta Chat client calls over TCP or TLS yet: this is what the server could do")
        for transport, port in _streams(target, host).items():
            servers = {
                name: transport_override(each, transport, port) for name, each in friends.servers.items()
            }
            judge_relayed_call(
                outcome, target, replace(friends, servers=servers), f"over-{transport}", video=False
            )

    return with_friends(target, host, devices, judge)


@check("E2E-path", needs=("iroh_relay", "turn", "ledger"))
def direct_call_leaves_the_relay_alone(target: Target, host: Host, devices: DeviceFactory) -> Outcome:
    """Two devices with a way to each other call without TURN: its ledger then shows next to nothing."""
    need_agents()

    def judge(outcome: Outcome, friends: Friends) -> None:
        known = turn_ledger_of(target)
        with seated(outcome, friends, "direct") as (caller, callee):
            call = set_up(outcome, "direct", caller, callee, Media())
            talked = talk(call)
            balance = account_now(target, call, "direct")
            call.hang_up(within=CALL_WITHIN)
        measure(outcome, "direct", call, talked, balance)
        judge_balance(outcome, "direct", balance)
        leaked = carried_since(known, turn_ledger_of(target))
        outcome.measurements["carried_bytes"] = leaked.bytes
        outcome.expect(
            leaked.bytes < MOST_BYTES_OF_A_DIRECT_CALL,
            f"the call is direct, but the server carried {leaked.bytes} bytes of it",
        )
        outcome.expect(talked.path == "direct", f"the call should be direct, it is {talked.path}")
        outcome.paths["media"] = talked.path if outcome else f"{talked.path}, not proven"

    return with_friends(target, host, devices, judge)


@check("TURN-10", needs=("iroh_relay", "turn"))
def calls_ring_and_end(target: Target, host: Host, devices: DeviceFactory) -> Outcome:
    """Either side calls through TURN; the other declines, takes it and hangs up, or the caller gives up: both know."""
    need_agents()

    def taken(ringing: Ringing) -> None:
        ringing.accept(within=CALL_WITHIN).hang_up(ringing.callee, within=CALL_WITHIN)

    ends: Mapping[str, tuple[Callable[[Ringing], None], str, str]] = {
        "declined": (lambda ringing: ringing.decline(within=CALL_WITHIN), "Declined", "Declined"),
        "cancelled": (lambda ringing: ringing.cancel(within=CALL_WITHIN), "Canceled", "Missed"),
        "taken": (taken, "Completed", "Completed"),
    }

    def judge(outcome: Outcome, friends: Friends) -> None:
        for how, (end, at_caller, at_callee) in ends.items():
            for caller_name in friends.servers:
                which = f"{how}-call-of-{caller_name}"
                with seated(outcome, friends, which, caller_name) as (caller, callee):
                    ringing = place(caller, callee, Media(policy="relay"), within=CALL_WITHIN)
                    _expect_states(outcome, which, ringing, "Alerting", "Alerting")
                    end(ringing)
                    measure_phases(outcome, which, ringing)
                    _expect_states(outcome, which, ringing, at_caller, at_callee)

    return with_friends(target, host, devices, judge)


def _streams(target: Target, host: Host) -> Mapping[Literal["tcp", "tls"], int | None]:
    """What to call over, and at which port; None: that of core's servers."""
    if "turns" in target.capabilities:
        return {"tcp": None, "tls": offered_turn(target, host, TURNS_KEY).port}
    return {"tcp": None}


def _expect_states(outcome: Outcome, which: str, ringing: Ringing, caller: str, callee: str) -> None:
    expected = {ringing.caller.name: caller, ringing.callee.name: callee}
    outcome.expect(ringing.states == expected, f"{which}: the users see {ringing.states}, not {expected}")
