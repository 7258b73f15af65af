"""The order of a run: which check is next, so that checks side by side find the same as one after the other.

Pure: a schedule knows what was started and what has ended, and nothing of processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..stage.check import Check
from ..target import Impact

__all__ = ["COSTS", "Cost", "Schedule", "cost_of", "default_jobs"]


@dataclass(frozen=True)
class Cost:
    """A check on the reference server, on a machine with nothing else to do: an estimate, for the order alone.

    Seconds are mostly those of records. Of processor times, sums over several checks were measured, and shared out.
    """

    seconds: float
    cpu_seconds: float
    """Of our own programs and of Delta Chat's: the time of all processors together."""

    @property
    def processors(self) -> float:
        """Those that it keeps busy, on average."""
        return self.cpu_seconds / self.seconds


QUICK = Cost(0.5, 0.2)
OF_SEVERAL_CLIENTS = Cost(10, 10)
WORTH_A_SERVER = 10.0
"""Seconds of checks."""
COSTS: Mapping[str, Cost] = {
    "relay.relay_connection_survives_idle": Cost(7, 0.1),
    "relay_v1.relay_v1_carries_real_nodes": Cost(5, 2),
    "realtime.two_devices_exchange_messages": Cost(2, 2),
    "realtime.devices_survive_a_relay_restart": Cost(2, 2),
    "realtime.a_device_rejoins": Cost(2, 2),
    "realtime.both_devices_of_an_account_receive_messages": Cost(3, 3),
    "realtime_paths.data_takes_the_way_that_networks_allow": Cost(13, 17),
    "realtime_paths.two_pairs_take_both_ways_at_once": Cost(4, 7),
    "realtime_paths.two_devices_go_direct": Cost(5, 5),
    "realtime_paths.two_devices_are_relayed": Cost(6, 5),
    "swarms.every_device_receives_every_message": Cost(9, 12),
    "swarms.isolating_one_device_affects_no_other": Cost(8, 10),
    "swarms.blocking_a_direct_path_loses_no_message": Cost(5, 6),
    "swarms.swarm_recovers_from_a_change": Cost(13, 10),
    "accounts.new_accounts_come_online": Cost(1, 1),
    "accounts.many_accounts_at_once": Cost(3, 2),
    "chats.people_become_contacts_by_secure_join": Cost(2, 1),
    "chats.texts_arrive_encrypted_and_once": Cost(2, 2),
    "chats.group_messages_reach_every_member": Cost(3, 3),
    "chats.files_arrive_unchanged": Cost(2, 2),
    "chats.files_arrive_up_to_the_limit": Cost(16, 13),
    "administration.first_logins_can_be_switched_off": Cost(1, 1),
    "privacy.files_tell_nothing_of_users": Cost(1, 1),
    "federation.mail_goes_both_ways_once": Cost(5, 5),
    "federation.mail_goes_by_an_exchanger": Cost(6, 5),
    "federation.groups_and_files_cross_a_slow_link": Cost(24, 9),
    "federation.mail_survives_a_kill_and_a_server_that_is_down": Cost(4, 4),
    "federation.strangers_bring_mail_for_people_here_only": Cost(2, 1),
    "federation.unsigned_mail_is_refused": Cost(2, 1),
    "federation.posted_mail_reaches_known_people_only": Cost(1, 1),
    "turn.turn_credentials_expire": Cost(6, 2),
    "turn_from_outside.relayed_address_answers_a_plain_peer": Cost(2, 2),
    "names.core_finds_turn_by_its_name": Cost(9, 10),
    "calls.core_lists_the_offered_servers": Cost(1, 1),
    "calls.relayed_call_is_heard_and_seen": Cost(6, 6),
    "calls.relayed_call_over_tcp_and_tls": Cost(10, 10),
    "calls.direct_call_leaves_the_relay_alone": Cost(6, 5),
    "calls.calls_ring_and_end": Cost(12, 17),
    "calls.second_device_is_told_of_the_answer": Cost(7, 4),
    "calls_lifetimes.relayed_call_outlives_lifetimes": Cost(23, 14),
    "calls_lifetimes.relayed_call_outlives_credentials": Cost(23, 7),
    "transports.two_servers_serve_one_profile": Cost(9, 4),
    "transports.mail_leaves_by_the_first_server": Cost(21, 4),
    "transports.realtime_needs_the_relay_of_the_first_server": Cost(23, 4),
    "transports.first_server_without_a_relay_leads_to_strangers": Cost(19, 4),
    "transports.calls_use_turn_of_either_server": Cost(20, 8),
    "calls_many.calls_at_once": Cost(24, 48),
    "calls_interrupted.call_survives_a_pause_of_turn": Cost(9, 7),
    "calls_interrupted.calling_survives_a_restart_of_turn": Cost(45, 16),
    "calls_paths.calls_take_the_expected_path": Cost(37, 37),
    "calls_paths.one_leg_call_is_relayed": Cost(9, 8),
    "calls_changes.calls_survive_outages": Cost(20, 10),
    "calls_changes.calls_on_bad_links_stay_up": Cost(20, 10),
    "calls_changes.dead_calls_are_noticed_and_the_next_one_works": Cost(75, 37),
    "ipv6.devices_without_ipv4_are_served": Cost(14, 13),
}
"""On two processors; every other check costs less than a second."""


def cost_of(check: Check) -> Cost:
    """As listed; of a check that is not, by what it needs."""
    return COSTS.get(check.name) or (OF_SEVERAL_CLIENTS if check.needs & {"calls", "lab"} else QUICK)


def default_jobs(checks: Iterable[Check], processors: int) -> int:
    """Two thirds of a run are waiting; how much of the rest runs at the same time is up to the schedule.

    A further server is started where it has enough to do.
    """
    seconds = sum(cost_of(each).seconds for each in checks)
    return min(2 * processors, 1 + int(seconds / WORTH_A_SERVER))


class Schedule:
    """Checks that wait, that run, and that have ended."""

    def __init__(self, checks: Sequence[Check], *, processors: int, shared_server: bool = False) -> None:
        """`shared_server`: all checks use one server, so that one which disturbs it runs alone."""
        self._waiting = sorted(checks, key=_urgency)
        self._running: dict[str, Check] = {}
        self._names = {each.name for each in checks}
        self._ended: set[str] = set()
        self._processors = processors
        self._shared_server = shared_server

    def next(self) -> Check | None:
        """A check to start now; it counts as running. None: nothing may be started, or nothing is left."""
        for check in self._waiting:
            if self._may_start(check):
                self._waiting.remove(check)
                self._running[check.name] = check
                return check
        return None

    def ended(self, name: str) -> None:
        del self._running[name]
        self._ended.add(name)

    @property
    def over(self) -> bool:
        return not self._waiting and not self._running

    @property
    def running(self) -> Iterator[Check]:
        return iter(self._running.values())

    def seconds_left(self, running_for: Mapping[str, float], jobs: int) -> float:
        """Estimate of the wall time until the end; `running_for` has the seconds since each running check began."""
        waiting = [cost_of(each) for each in self._waiting]
        rest = [max(0.0, cost_of(self._running[name]).seconds - since) for name, since in running_for.items()]
        by_time = (sum(each.seconds for each in waiting) + sum(rest)) / max(1, jobs)
        by_processors = sum(each.cpu_seconds for each in waiting) / self._processors
        return max(by_time, by_processors, *rest, 0.0)

    def _may_start(self, check: Check) -> bool:
        if any(name in self._names - self._ended for name in check.after):
            return False
        if not self._running:
            return True
        if self._shared_server and (_disturbs(check) or any(map(_disturbs, self._running.values()))):
            return False
        busy = sum(cost_of(each).processors for each in self._running.values())
        return busy + cost_of(check).processors <= self._processors


def _urgency(check: Check) -> tuple[bool, float]:
    """First what is quick, because much depends on it; then the longest, so that none of them is left for the end."""
    seconds = cost_of(check).seconds
    return seconds > QUICK.seconds, -seconds


def _disturbs(check: Check) -> bool:
    return bool(check.disturbs) or check.impact is Impact.HARMFUL
