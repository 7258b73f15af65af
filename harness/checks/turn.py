"""The TURN server that the target advertises relays, for those who may use it and to those who want it.

Our own client talks to it; no Delta Chat core is involved, and no call (`calls` has them).
"""

from __future__ import annotations

import base64
import binascii
import time
from dataclasses import replace
from functools import partial

from ..clients.turn.client import TurnClient, TurnCredentials, TurnError
from ..report.observations import Measured
from ..servers.server import Unsupported, Wants
from ..stage.causes import cause_of
from ..stage.check import check
from ..stage.offers import TURNS_KEY
from ..stage.outcome import OursToMend, Outcome
from ..stage.stage import Stage
from ..steps.addresses import tried_addresses
from ..steps.clocks import Clocks
from ..steps.turn_exchange import LONGEST_WAIT, OwnTurn, exchange, expiry_of, refusal_of
from ..steps.turn_permissions import (
    expect_channel_includes_permission,
    expect_peers_refused,
    expect_permission_needed,
    judge_peers_at_own_address,
)
from ..target import Impact
from ..urls import TurnUrl
from ..waiting import WaitTimeout, wait_until

__all__ = [
    "turn_allocates_with_offered_credentials",
    "turn_credentials_expire",
    "turn_enforces_permissions",
    "turn_grants_an_allocation",
    "turn_has_udp_3478",
    "turn_is_offered",
    "turn_refuses_wrong_credentials",
    "turns_is_offered",
]

PASSWORD_BYTES = 20
"""An HMAC-SHA1."""
LONGEST_TTL = 366 * 86_400
"""Seconds. Whoever writes milliseconds is off by some fifty thousand years."""
LATER = 86_400
"""Seconds by which somebody would like to prolong credentials."""
WELL_KNOWN_SECRETS = ("north", "secret", "static-auth-secret", "")
"""From the source of chatmail-turn, from examples of coturn, and of whoever forgot it: anybody can sign with them."""
WELL_KNOWN = "the well-known secret"
CLOCKS_DIFFER = 1.0
"""Seconds after the expiry by our clock, at which it is over by the server's, too."""
STUN_PORT = 3478
MISMATCH = 437
"""Our port had an allocation of another user name a moment ago; coturn also says so to another realm."""
GRANTS = ("turn.turn_grants_an_allocation",)


@check("DISC-3", "TURN-1", "TURN-9", needs=("turn",))
def turn_is_offered(stage: Stage, outcome: Outcome) -> None:
    """METADATA gives the target's own TURN server, with credentials that expire and look like an HMAC-SHA1."""
    offer = stage.own_turn()
    seconds, clocks = int(offer.username) - int(time.time()), Clocks.of(stage.host, stage.target)
    left = round(clocks.least(seconds))
    outcome.observe(Measured("TURN in METADATA", f"{offer.host}:{offer.port}"))
    outcome.observe(Measured("TURN credentials are valid for", seconds, "s"))
    if clocks.ours_is_wrong(seconds) and OwnTurn(stage, offer).is_granted:
        raise OursToMend(
            f"TURN takes credentials that have expired {clocks.words}: it is ours, which nobody keeps"
        )
    outcome.expect(left > 0, f"the TURN credentials expired {-left} s ago {clocks.words}: {offer}")
    outcome.expect(
        seconds <= LONGEST_TTL,
        f"the TURN credentials live for {seconds // 86_400} days: {offer.username} must be an expiry in unix seconds",
    )
    outcome.expect(
        _is_hmac(offer.password), f"the password of {offer} is not the base64 of {PASSWORD_BYTES} bytes"
    )


def _is_hmac(password: str) -> bool:
    try:
        return len(base64.b64decode(password, validate=True)) == PASSWORD_BYTES
    except binascii.Error:
        return False


@check("DISC-6", "TURN-2", needs=("turn",))
def turn_grants_an_allocation(stage: Stage, outcome: Outcome) -> None:
    """TURN answers over UDP at each of its addresses, and grants an allocation with the credentials of METADATA."""
    turn = OwnTurn.of(stage)
    for address in tried_addresses(outcome, stage.host, turn.offer.host):  # core makes a server of each
        url = replace(turn.url, host=address)
        try:
            turn.allocate(url=url)
        except TurnError as error:
            outcome.expect(False, str(error), cause=cause_of(error))
        except WaitTimeout as silence:
            outcome.expect(False, f"{silence}{_answers_stun_alone(turn, url)}")


def _answers_stun_alone(turn: OwnTurn, url: TurnUrl) -> str:
    """Further words about a server that is silent: who else may sit on its port."""
    try:
        turn.ask(TurnClient.binding, url)
    except (TurnError, WaitTimeout):
        return ""
    return (
        f": {url} answers STUN and no Allocate, so something else than TURN has the port, "
        f"such as an iroh relay with enable_stun = true"
    )


@check("DISC-6", "TURN-2", "TURN-5", "TURN-6", needs=("turn",), after=GRANTS)
def turn_allocates_with_offered_credentials(stage: Stage, outcome: Outcome) -> None:
    """With the credentials of METADATA two clients allocate and reach each other, over each transport there is."""
    turn = OwnTurn.of(stage)
    listeners = {url.transport: url for url in stage.target.turn if url.transport != "udp"}
    for transport in ("tcp", "tls"):
        if transport not in listeners:
            outcome.note(f"TURN over {transport.upper()} was not tried: the target names no such listener")
    for url in (turn.url, *listeners.values()):
        with outcome.expect_to_arrive(TurnError), turn.peers(url) as (first, second):
            exchange(stage, first, second)


@check("DISC-4", "TURN-7", needs=("turns",), after=GRANTS)
def turns_is_offered(stage: Stage, outcome: Outcome) -> None:
    """METADATA `turns` names a port of the target where TURN answers over TLS; `turn` keeps one that answers UDP."""
    offer, turn = stage.own_turn(TURNS_KEY), OwnTurn.of(stage)
    outcome.observe(Measured("TURN over TLS in METADATA", f"{offer.host}:{offer.port}"))
    secure = TurnUrl("tls", offer.host, offer.port, "turns")
    unusable = "METADATA names a port for TURN over TLS that cannot be used"
    silent = "METADATA names a port for TURN that does not answer over UDP"
    with outcome.expect_to_arrive(TurnError, what=unusable):
        turn.allocate(url=secure, credentials=offer.credentials)
    with outcome.expect_to_arrive(TurnError, what=silent):
        turn.ask(TurnClient.binding)


@check("IROH-7", needs=("iroh_relay", "turn"), after=GRANTS)
def turn_has_udp_3478(stage: Stage, outcome: Outcome) -> None:
    """UDP 3478 of the iroh relay's host is TURN's: the one who answers STUN there asks for credentials on Allocate."""
    turn, relay = OwnTurn.of(stage), stage.own_relay()
    shared = stage.host.addresses_of(turn.offer.host) & stage.host.addresses_of(relay.host)
    if turn.offer.port != STUN_PORT or not shared:
        raise Unsupported(
            f"METADATA offers TURN at {turn.url} and the relay at {relay}: they have no UDP port {STUN_PORT} to share"
        )
    for address in sorted(shared):
        url, port = TurnUrl("udp", address, STUN_PORT), f"UDP port {STUN_PORT} of the relay's host {address}"
        with outcome.expect_to_arrive(TurnError, what=f"{port} does not answer STUN"):
            turn.ask(TurnClient.binding, url)
        with outcome.expect_to_arrive(TurnError, what=f"{port} answers STUN, but TURN does not have it"):
            turn.ask(TurnClient.ask_for_realm, url)


@check("TURN-2", "TURN-3", "TURN-4", needs=("turn",), impact=Impact.LEAVES_TRACES, after=GRANTS)
def turn_refuses_wrong_credentials(stage: Stage, outcome: Outcome) -> None:
    """Another password, another realm, a prolonged and an expired user name are refused; the right ones are not."""
    turn = OwnTurn.of(stage)
    with outcome.expect_to_arrive(TurnError):
        _expect_signed_error(outcome, turn)
        for what, wrong in _wrong_credentials(stage, turn.offer.credentials).items():
            refusal = refusal_of(partial(turn.allocate, credentials=wrong))
            # From another port, as RFC 8656 has it (7.4).
            if refusal is not None and refusal.code == MISMATCH:
                refusal = refusal_of(partial(turn.allocate, credentials=wrong))
            if refusal is None:
                cause = "turn.secret_well_known" if what.startswith(WELL_KNOWN) else ""
                outcome.expect(False, f"{turn.url} accepts credentials with {what}", cause=cause)
            elif wrong.realm is None:
                outcome.expect(refusal.code == 401, f"with {what}: {refusal}, instead of 401")
            elif refusal.code != 401:
                outcome.note(f"with {what}: {refusal}, RFC 8489 asks for 401")
        turn.allocate()


def _wrong_credentials(stage: Stage, right: TurnCredentials) -> dict[str, TurnCredentials]:
    """Credentials that must be refused, by their fault. Only who has the secret can sign an expired name."""
    long_ago, much_later = str(int(time.time()) - LATER), str(int(right.username) + LATER)
    wrong = {
        "another password": TurnCredentials.from_secret("a secret of nobody", right.username),
        "a later expiry with the old password": replace(right, username=much_later),
        "an earlier expiry with the old password": replace(right, username=long_ago),
        "another realm": replace(right, realm="realm-of-nobody.example"),
    }
    for secret in WELL_KNOWN_SECRETS:
        name = f"{WELL_KNOWN} {secret!r}"
        wrong[name] = TurnCredentials.from_secret(secret, right.username)
    if stage.server.turn_secret is None:
        stage.outcome.note(
            "no expired user name with a right password was tried: the secret of TURN is not known here"
        )
    else:
        wrong["an expiry in the past"] = TurnCredentials.from_secret(stage.server.turn_secret, long_ago)
    return wrong


def _expect_signed_error(outcome: Outcome, turn: OwnTurn) -> None:
    """aioice ignores an unsigned error to a signed request, and waits for another answer until it gives up.

    The error is one that coturn signs; its 437 and 441 it does not, against RFC 8489, section 9.2.4.
    """
    with turn.client() as client:
        refusal = refusal_of(partial(client.allocate, protocol=None))
    if refusal is None:
        outcome.expect(False, f"{turn.url} grants an Allocate that has no REQUESTED-TRANSPORT")
        return
    outcome.expect(refusal.code == 400, f"an Allocate without REQUESTED-TRANSPORT: {refusal}, instead of 400")
    outcome.expect(refusal.signed, f"an error after authentication is not signed: {refusal}")


@check("TURN-4", needs=("turn",), wants=Wants(turn_ttl=4), after=GRANTS)
def turn_credentials_expire(stage: Stage, outcome: Outcome) -> None:
    """Allocations go on when the credentials that they were made with have expired, and there is no new one."""
    turn = OwnTurn.of(stage)
    expires = expiry_of(turn.offer, stage.target)
    with outcome.expect_to_arrive(TurnError), turn.peers() as (first, second):
        wait_until(
            lambda: time.time() > expires + CLOCKS_DIFFER,
            "the credentials to expire",
            within=2 * LONGEST_WAIT,
        )
        with outcome.expect_to_arrive(
            TurnError, what="an allocation must outlive the credentials that it was made with"
        ):
            exchange(stage, first, second)
        refusal = refusal_of(turn.allocate)
        if refusal is None:
            outcome.expect(False, f"{turn.url} grants a new allocation with credentials that have expired")
        else:
            outcome.expect(refusal.code == 401, f"with expired credentials: {refusal}, instead of 401")


@check("TURN-11", needs=("turn",), after=GRANTS)
def turn_enforces_permissions(stage: Stage, outcome: Outcome) -> None:
    """Nothing passes without a permission, a channel includes one, and nobody gets one for the server's own network."""
    turn = OwnTurn.of(stage)
    with outcome.expect_to_arrive(TurnError):
        with turn.peers() as (first, second):
            expect_permission_needed(stage, first, second)
        with turn.peers() as (first, second):
            expect_channel_includes_permission(stage, first, second)
        with turn.peers() as (first, _second):
            expect_peers_refused(stage, first)
            judge_peers_at_own_address(stage, first)
