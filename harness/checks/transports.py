"""Profiles with accounts on two servers: which of the two people need, for what, as core does it today.

What core does is measured, and not promised by anybody. Where a core does otherwise, the check is undecided: then the
warning that it has for operators is out of date.
"""

from __future__ import annotations

from ..calls.call import Media
from ..realtime.swarm import join, share_app
from ..servers.server import Wants
from ..stage.check import check
from ..stage.outcome import OursToMend, Outcome, promised
from ..stage.stage import Stage
from ..steps.calls import FAILURES, Callers, talk
from ..steps.calls import NEEDS as CALLS
from ..steps.chats import JOIN_WITHIN, TEXT_WITHIN
from ..steps.observed import path_by_agents
from ..steps.swarm_of_two import judge_messages
from ..steps.transports import SILENT_FOR, hears_nothing, only_of, servers_of_both, turn_apart, two_servers
from ..target import Service
from ..waiting import WaitTimeout, wait_until

__all__ = [
    "calls_use_turn_of_either_server",
    "first_server_without_a_relay_leads_to_strangers",
    "mail_leaves_by_the_first_server",
    "realtime_needs_the_relay_of_the_first_server",
    "two_servers_serve_one_profile",
]

NEEDS = ("lab", "federation", "iroh_relay", "turn")
AFTER = ("federation.mail_goes_both_ways_once",)
MESSAGES = 10
WITHOUT_RELAY = Wants(services=frozenset({Service.MAIL, Service.TURN}))


@check("DISC-5", "TURN-8", needs=NEEDS, after=AFTER)
def two_servers_serve_one_profile(stage: Stage, outcome: Outcome) -> None:
    """Profiles with two servers: calls may use TURN of both, apps use the first's relay, and nobody asks strangers."""
    with two_servers(stage) as two:
        servers_of_both(two)
        two.text(outcome, "hello")
        with promised(*FAILURES, what="realtime does not work over the relay of the first server"):
            swarm = join(two.alice, two.bob, within=JOIN_WITHIN)
        judge_messages(outcome, swarm.exchange(MESSAGES))
        for device in two.devices:
            relays = device.core.iroh_trace().home_relays
            if relays != (two.relay,):
                raise OursToMend(
                    f"core {device.core.version} uses {relays}, and not the first server's {two.relay}"
                )
        outcome.expect(two.copies("hello") == 1, f"one message arrived {two.copies('hello')} times")
        two.expect_no_strangers()


@check("DISC-5", "IROH-3", needs=NEEDS, after=AFTER)
def realtime_needs_the_relay_of_the_first_server(stage: Stage, outcome: Outcome) -> None:
    """The relay of a first server stands still: apps hear nothing until it goes on, whatever the second's does."""
    with two_servers(stage) as two, promised(*FAILURES, what="realtime does not work over the first server"):
        first, second = (each.server.program(Service.IROH_RELAY) for each in (two.one, two.two))
        swarm = share_app(two.alice, two.bob)
        first.pause()
        swarm.advertise()
        silent = hears_nothing(swarm)
        first.resume()
        second.stop()
        swarm.wait_until_up(within=JOIN_WITHIN)
        judge_messages(outcome, swarm.exchange(MESSAGES))
        if not silent:
            raise OursToMend(f"core {two.version} had realtime data without the relay of the first server")
        outcome.note(
            "clients use the iroh relay of the first server of a profile alone: while it is out of order there are no "
            "realtime apps, however healthy the second is"
        )
        two.expect_no_strangers()


@check("DISC-2", "DISC-5", needs=NEEDS, after=AFTER)
def first_server_without_a_relay_leads_to_strangers(stage: Stage, outcome: Outcome) -> None:
    """The first server of a profile has no iroh relay: apps ask public relays of others, not the second server's."""
    with two_servers(stage, first=WITHOUT_RELAY) as two:
        two.text(outcome, "hello")
        with promised(*FAILURES):
            swarm = share_app(two.alice, two.bob)
        swarm.advertise()
        try:
            names = wait_until(two.foreign_names, "names of public relays to be asked for", within=SILENT_FOR)
        except WaitTimeout as error:
            raise OursToMend(f"core {two.version} asks for no relay of others any more ({error})") from error
        outcome.expect(hears_nothing(swarm), "realtime data arrived over a relay that nobody in the lab has")
        outcome.note(
            "a profile whose first server has no iroh relay uses public ones of others, which see the addresses of its "
            f"devices ({', '.join(names)}): the relay of the second server is not used"
        )


@check("MAIL-2", needs=NEEDS, after=AFTER)
def mail_leaves_by_the_first_server(stage: Stage, outcome: Outcome) -> None:
    """Mail of a profile's second server stops: nobody notices. Mail of the first stops: what is sent waits for it."""
    with two_servers(stage) as two:
        first, second = (each.server.program(Service.MAIL) for each in (two.one, two.two))
        second.stop()
        two.text(outcome, "the second server is down")
        second.start()
        first.stop()
        two.alice.account.send_text(two.bob.account, "the first server is down")
        if two.arrives("the first server is down", within=SILENT_FOR):
            raise OursToMend(f"core {two.version} sent mail without the first server")
        first.start()
        two.reconnect()
        with outcome.expect_to_arrive(what="a message that waited for the first server does not arrive"):
            two.bob.account.wait_for_message("the first server is down", within=TEXT_WITHIN)
        number = two.copies("the first server is down")
        outcome.expect(number <= 1, f"a message that waited for the first server arrived {number} times")
        outcome.note(
            "clients send by the first server of a profile alone: while its mail is out of order nothing is sent, "
            "however healthy the second is"
        )


@check("TURN-10", "DISC-5", needs=(*CALLS, "lab", "federation"), after=AFTER)
def calls_use_turn_of_either_server(stage: Stage, outcome: Outcome) -> None:
    """TURN of one server of a profile is down, and then that of the other: calls go through the one that works."""
    with (
        two_servers(stage) as two,
        promised(*FAILURES, what="no call through TURN of the server that has it"),
    ):
        of_both = servers_of_both(two)
        for stopped, working in ((two.one, two.two), (two.two, two.one)):
            name = f"through {working.target.domain}"
            # A browser tries all; our agents take one server of TURN, so they are given the one that works.
            servers = {who: only_of(working, known) for who, known in of_both.items()}
            callers = Callers(two.one, {each.name: each for each in two.devices}, servers)
            program = turn_apart(stopped)
            program.stop()
            with callers.calling(name, Media(policy="relay")) as call:
                talked = talk(call)
            program.start()
            outcome.expect(
                talked.path == "relayed", f"{name}: the call should be relayed, it is {talked.path}"
            )
            carried = working.ledger(Service.TURN)
            outcome.expect(
                carried is None or carried.allocations, f"{name}: the server has no allocation of this call"
            )
            only_agents = "" if carried else "only the agents themselves say which way the media took"
            seen = path_by_agents(talked.path, Service.TURN, subject=name, phase="media", doubt=only_agents)
            outcome.observe(seen)
