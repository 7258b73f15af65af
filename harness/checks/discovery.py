"""What a server's METADATA offers to Delta Chat clients (RFC 5464).

`offered` stands before everything that starts a Delta Chat core: without a usable value, core silently uses
public servers of somebody else, and a test of this server would test theirs.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..calls.servers import TURN_KEY, TURNS_KEY, TurnOffer
from ..clients.mail.imap import ImapClient, ImapError
from ..clients.relay.client import RelayError
from ..clients.turn.client import TurnClient, TurnError
from ..hosts import Host
from ..steps.outcome import Outcome, PromiseBroken, check, current_outcome
from ..target import Target
from ..urls import RelayUrl, TurnUrl
from ..waiting import WaitTimeout

__all__ = [
    "IROH_RELAY_KEY",
    "Offer",
    "belongs_to",
    "metadata_needs_login",
    "metadata_offers_a_relay",
    "offered",
    "offered_to_cores",
    "offered_turn",
    "stated_turn",
    "turns_is_offered",
]

IROH_RELAY_KEY = "/shared/vendor/deltachat/irohrelay"
VALUE_FORMS = {"chatmail": "literal", "madmail": "quoted"}
"""How each dialect writes a METADATA value."""


@dataclass(frozen=True)
class Offer:
    """What METADATA promises: services of this very target."""

    iroh_relay: RelayUrl


def offered(target: Target, host: Host) -> Offer:
    """Read METADATA with our own client. Raises `PromiseBroken` for a missing, unusable or foreign value."""
    with ImapClient(host, target) as imap:
        imap.login(target.any_account())
        return _offer(target, imap, host)


def offered_to_cores(target: Target, host: Host) -> Offer:
    """As `offered`, for those who start cores: a core without a TURN value asks for public servers, too."""
    if "turn" in target.capabilities:
        offered_turn(target, host)
    return offered(target, host)


def offered_turn(target: Target, host: Host, key: str = TURN_KEY) -> TurnOffer:
    """The TURN server of one METADATA key. Raises `PromiseBroken` for a missing, unusable or foreign value."""
    offer = stated_turn(target, host, key)
    if not belongs_to(target, offer.host, host):
        raise PromiseBroken(
            f"METADATA offers the TURN server of somebody else: {offer} is not on {target.host} ({target.domain}), "
            f"but {_whereabouts(offer.host, host)}"
        )
    return offer


def stated_turn(target: Target, host: Host, key: str = TURN_KEY) -> TurnOffer:
    """What METADATA says, whosever it is. Raises `PromiseBroken` for a missing or unusable value."""
    with ImapClient(host, target) as imap:
        imap.login(target.any_account())
        try:
            value = imap.get_metadata(key).get(key)
        except ImapError as error:
            raise PromiseBroken(f"METADATA cannot be read: {error}") from error
    if value is None or not value.value:
        raise PromiseBroken(f"METADATA has no value for {key}: clients would use public servers of others")
    try:
        offer = TurnOffer.parse(value.value)
    except TurnError as error:
        raise PromiseBroken(f"METADATA offers an unusable TURN server: {error}") from error
    target.on_secret(offer.password)
    return offer


def _offer(target: Target, imap: ImapClient, host: Host) -> Offer:
    if "METADATA" not in imap.capabilities():
        raise PromiseBroken("the server does not advertise the IMAP capability METADATA after login")
    try:
        value = imap.get_metadata(IROH_RELAY_KEY).get(IROH_RELAY_KEY)
    except ImapError as error:
        raise PromiseBroken(f"METADATA cannot be read: {error}") from error
    if value is None or not value.value:
        raise PromiseBroken(
            f"METADATA has no value for {IROH_RELAY_KEY}: clients would use public relays of others"
        )
    try:
        url = RelayUrl.parse(value.value)
    except RelayError as error:
        raise PromiseBroken(f"METADATA offers an unusable relay: {error}") from error
    if not belongs_to(target, url.host, host):
        raise PromiseBroken(
            f"METADATA offers the relay of somebody else: {url} is not on {target.host} ({target.domain})"
        )
    return Offer(url)


def belongs_to(target: Target, name: str, host: Host) -> bool:
    """`name`, a DNS name or an address, means the target's own host, as `host` sees it."""
    if name in (target.host, target.domain):
        return True
    own = _addresses(target.host, host) | target.other_addresses
    return bool(_addresses(name, host) & own)


def _addresses(name: str, host: Host) -> frozenset[str]:
    try:
        return host.addresses_of(name)
    except OSError:
        return frozenset()


def _whereabouts(name: str, host: Host) -> str:
    try:
        return f"at {', '.join(sorted(host.addresses_of(name)))}"
    except OSError as error:
        return f"nowhere: {error}"


@check("DISC-1", "DISC-2", "IROH-6", needs=("iroh_relay",))
def metadata_offers_a_relay(target: Target, host: Host) -> Outcome:
    """After login, METADATA gives the URL of the target's own relay, in both request forms, as its dialect writes."""
    outcome = current_outcome()
    with ImapClient(host, target) as imap:
        imap.login(target.new_account())
        offer = _offer(target, imap, host)
        outcome.measurements["iroh_relay"] = str(offer.iroh_relay)
        single = imap.get_metadata(IROH_RELAY_KEY, form="single").get(IROH_RELAY_KEY)
        parenthesised = imap.get_metadata(IROH_RELAY_KEY, form="list").get(IROH_RELAY_KEY)
    outcome.expect(
        single == parenthesised,
        f"GETMETADATA answers {single} to the single form and {parenthesised} to the parenthesised one",
    )
    form = VALUE_FORMS.get(target.dialect)
    if form is None:
        return outcome.note(f"the form of values was not checked: unknown dialect {target.dialect!r}")
    return outcome.expect(
        parenthesised is not None and parenthesised.form == form,
        f"the value should be written as a {form} in the dialect {target.dialect}, it is {parenthesised}",
    )


@check("DISC-7", needs=("iroh_relay",))
def metadata_needs_login(target: Target, host: Host) -> Outcome:
    """Before login, GETMETADATA is refused in both forms, and the refusal leaks no value."""
    offer = offered(target, host)
    outcome = current_outcome()
    for request in (IROH_RELAY_KEY, f"({IROH_RELAY_KEY})"):
        with ImapClient(host, target) as imap:
            answer = imap.command(f'GETMETADATA "" {request}')
        said = b" ".join(answer.untagged).decode("utf-8", "replace") + answer.text
        outcome.expect(
            answer.status in ("NO", "BAD"), f"GETMETADATA before login was answered with {answer.status}"
        )
        outcome.expect(
            str(offer.iroh_relay).rstrip("/") not in said and IROH_RELAY_KEY not in said,
            "GETMETADATA before login told a value to a stranger",
        )
    return outcome


@check("DISC-4", "TURN-7", needs=("turns",))
def turns_is_offered(target: Target, host: Host) -> Outcome:
    """METADATA `turns` names a port of the target where TURN answers over TLS; `turn` keeps one that answers UDP."""
    outcome = current_outcome()
    secure, plain = offered_turn(target, host, TURNS_KEY), offered_turn(target, host)
    outcome.measurements |= {"turns": str(secure), "turn": str(plain)}
    try:
        url = TurnUrl("tls", secure.host, secure.port, "turns")
        with TurnClient(host, url, secure.credentials, tls=target.ssl_context()) as client:
            client.allocate()
            client.refresh(0)
    except (TurnError, WaitTimeout) as error:
        outcome.expect(False, f"METADATA names a port for TURN over TLS that cannot be used: {error}")
    try:
        with TurnClient(host, TurnUrl("udp", plain.host, plain.port), plain.credentials) as client:
            client.binding()
    except (TurnError, WaitTimeout) as error:
        outcome.expect(False, f"METADATA names a port for TURN that does not answer over UDP: {error}")
    return outcome
