"""A look at a server from one host: everything that was seen in it, without any secret.

One look is one observation (kind `look`). A field that is empty or None was not looked at, or was out of reach.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from .observations import Observation

__all__ = [
    "Allocated",
    "CallLook",
    "CertificateLook",
    "HttpLook",
    "Look",
    "MailLook",
    "NameLook",
    "PortLook",
    "RelayLook",
    "SwarmLook",
    "TurnLook",
    "TurnsLook",
]

Reached = Literal["open", "refused", "silent", "no route"]
"""Of a port: a connection, a refusal, nothing at all; or this machine has no way to that address (no IPv6, say)."""


@dataclass(frozen=True)
class NameLook:
    """A name, as one who looks for it fares. An address stands for itself."""

    name: str
    addresses: tuple[str, ...] = ()
    """The first of them."""
    count: int = 0
    """Number of all."""
    failure: Literal["", "unknown", "failed", "silent"] = ""
    """`unknown`: there is no such name, or it has no address; `failed`: a name server says to try again (SERVFAIL);
    `silent`: nobody answered in the time that core waits."""
    seconds: float = 0.0
    foreign: tuple[str, ...] = ()
    """Addresses that the server does not have, as far as is known."""


@dataclass(frozen=True)
class PortLook:
    """One port at one address."""

    service: str
    address: str
    port: int
    reached: Reached
    trouble: str = ""
    """What was wrong with TLS besides the certificate, or with the greeting; empty: nothing."""
    greeting: str = ""
    """The first line that the server said, cleaned."""
    turned_away: bool = False
    """The greeting says that nobody is served (`* BYE`, 554, 421), or none came."""


@dataclass(frozen=True)
class CertificateLook:
    """The certificate at one port, as Delta Chat judges it there."""

    service: str
    address: str
    port: int
    host: str
    """Name that it must be for."""
    names: tuple[str, ...] = ()
    issuer: str = ""
    days_left: float | None = None
    self_signed: bool = False
    problem: Literal["", "expired", "not yet valid", "wrong name", "untrusted"] = ""
    detail: str = ""
    """In the words of the TLS library."""


@dataclass(frozen=True)
class MailLook:
    """Sessions of IMAP and SMTP with new accounts."""

    address: str
    log_in: Literal["", "accepted", "refused", "limited", "failed", "broken"] = ""
    """`limited`: too many log-ins or sessions; `failed`: the server says that the fault is its own, or does not take
    the command; `broken`: no answer, or one that is no IMAP."""
    log_in_words: str = ""
    capabilities: tuple[str, ...] = ()
    """After the log-in."""
    metadata: Literal["", "read", "refused", "unreadable"] = ""
    metadata_words: str = ""
    keys: tuple[str, ...] = ()
    """Keys of METADATA that have a value, without their prefix."""
    dialect: str = ""
    """Form of the values: `literal` or `quoted`."""
    turn: str = ""
    """Server in the value of `turn`, as HOST:PORT."""
    turn_problem: str = ""
    """Reason for which clients cannot read it."""
    password_problem: str = ""
    """Reason for which the password is none that a shared secret makes."""
    turns: str = ""
    turns_problem: str = ""
    """Reason for which nobody can read the value of `turns`."""
    relay: str = ""
    """URL in the value of `irohrelay`, without a user and password in it."""
    relay_problem: str = ""
    expiry: str = ""
    """User name of the TURN credentials, which is to be the unix second at which they expire."""
    expires_in_s: float | None = None
    """Until the TURN credentials expire, by our clock."""
    expiry_in_milliseconds: bool = False
    known_secret: str = ""
    """Where the secret is known from that the TURN credentials were made of; empty: it is none of those."""
    submission: Literal["", "accepted", "refused", "broken"] = ""
    """An encrypted mail to oneself."""
    submission_words: str = ""
    idle_wakes_s: float | None = None
    """From the 250 of that mail to EXISTS during IDLE; None: it was not told, or not looked at."""
    idle_found_later: bool = False
    """The mail lay in the mailbox of a client that was not told."""
    clock_ahead_s: float | None = None
    """The server's clock minus ours, by the INTERNALDATE of that mail."""
    unencrypted: Literal["", "refused", "accepted"] = ""
    unencrypted_words: str = ""


@dataclass(frozen=True)
class HttpLook:
    """An answer in HTTP: its status and who says that they sent it."""

    status: int | None = None
    """None: no HTTP came."""
    server: str = ""
    """Header `Server:`, cleaned."""
    words: str = ""
    """What came, or did not come, instead."""
    location: str = ""
    """URL to which a redirect (3xx) leads, cleaned."""
    silent: bool = False
    """The connection stood, and nothing came."""
    is_relay: bool = False
    """The body is the page of an iroh relay."""
    is_http2: bool = False
    """A frame of HTTP/2 came."""


@dataclass(frozen=True)
class RelayLook:
    """The iroh relay that METADATA names."""

    url: str
    secure: bool
    ports: tuple[PortLook, ...] = ()
    certificate: CertificateLook | None = None
    upgrade: HttpLook | None = None
    """GET /relay with the upgrade of 0.35."""
    page: HttpLook | None = None
    """GET /."""
    relay_path: int | None = None
    """Status of GET /relay without any upgrade."""
    ping: int | None = None
    """Status of GET /ping."""
    generate_204: int | None = None
    paths_asked: bool = True
    """False: neither of these two was asked for."""
    other_scheme: bool = False
    """The port speaks the other one of http and https."""
    closed_after_101: bool = False
    admits_035: bool | None = None
    admits_v1: bool | None = None
    without_subprotocol: bool = False
    """The upgrade to a WebSocket was answered with 101, and none of the sub-protocols that were offered."""
    words: str = ""
    """Of the client that was not admitted."""
    arrived: tuple[int, ...] = ()
    """Sizes in bytes of the frames that came through between two clients, once and unchanged."""
    lost: tuple[int, ...] = ()
    """Sizes of those that did not, or came otherwise."""
    quiet_s: float | None = None
    """Seconds of silence that a node's connection through a proxy was kept for; None: there is no proxy."""
    ended_when_quiet: bool = False
    """It was ended before the look was."""
    stun: bool | None = None
    """UDP 3478 at its host answers STUN."""


@dataclass(frozen=True)
class Allocated:
    """An Allocate request and its answer."""

    answer: Literal["granted", "refused", "open", "silent", "strange"]
    """`open`: granted without any credentials, so that no more was asked."""
    code: int = 0
    words: str = ""
    relayed: str = ""
    """Relayed transport address, ADDRESS:PORT."""
    place: Literal["", "own", "private", "foreign"] = ""
    """Of that address."""


@dataclass(frozen=True)
class TurnLook:
    """The TURN server that METADATA names."""

    host: str
    port: int
    udp: tuple[PortLook, ...] = ()
    """STUN over UDP at each address."""
    tcp: tuple[PortLook, ...] = ()
    """The same over TCP."""
    address: str = ""
    """The one that everything else was asked of."""
    realm: str = ""
    first: Allocated | None = None
    redirected_to: str = ""
    """ALTERNATE-SERVER of a 300."""
    redirected: Allocated | None = None
    """Allocate there."""
    realm_refused: bool = False
    """The refusal is about the realm, which was the server's own."""
    second: Allocated | None = None
    """Another allocation from the same address."""
    private_peers: tuple[str, ...] = ()
    """Addresses of networks that no relay may talk to, for which a permission was granted."""
    pair: bool | None = None
    """Two allocations hear each other."""
    from_outside: bool | None = None
    """A datagram from a socket without an allocation arrives at the relayed address."""
    to_outside: bool | None = None
    """The answer to it arrives."""
    outside_words: str = ""
    """Reason for which that was not tried."""
    secrets_tried: int = 0
    secret_accepted: str = ""
    """Where the secret is known from with which anybody gets an allocation."""


@dataclass(frozen=True)
class TurnsLook:
    """TURN over TLS, as METADATA names it."""

    host: str
    port: int
    reached: Reached
    certificate: CertificateLook | None = None
    trouble: str = ""
    """What answered instead of TLS."""
    answers: bool = False
    """STUN over TLS is answered."""


@dataclass(frozen=True)
class CallLook:
    """One call between two real clients whose only way is TURN."""

    answer: Literal["heard", "failed", "not tried", "undecided"]
    """`heard`: it was connected, relayed, and each side heard the other; `undecided`: our own programs were too slow,
    or are not installed."""
    words: str = ""
    """What was missing, or why it was not tried."""
    connected_ms: float | None = None
    """From the click to the moment at which both agents were connected."""


@dataclass(frozen=True)
class SwarmLook:
    """Three nodes that send each other frames through the iroh relay, for longer than a look."""

    answer: Literal["heard", "failed", "not tried", "undecided"]
    """`failed`: frames were lost, changed or doubled while the relay answered pings."""
    words: str = ""
    """Why it was not tried, or what ended it."""
    sent: int = 0
    arrived: int = 0
    """Once, unchanged and from the right key."""


@dataclass(frozen=True)
class Look(Observation):
    """Everything that one host saw of a server in some seconds."""

    kind: ClassVar[str] = "look"
    identity: ClassVar[tuple[str, ...]] = ("host",)

    host: str
    """The server, by the name that was given."""
    time: float
    """Unix seconds at its beginning."""
    seconds: float = 0.0
    network: str = ""
    """Kind of the emulated network that it was looked at from; empty: this machine's own."""
    given_accounts: bool = False
    """The accounts were given by the caller: otherwise they are new, and made at the first log-in."""
    own: tuple[str, ...] = ()
    """Addresses of the server, and those that were declared to be the same operator's."""
    name: NameLook | None = None
    ports: tuple[PortLook, ...] = ()
    certificates: tuple[CertificateLook, ...] = ()
    verified: bool = True
    """Certificates of mail were verified; False: nobody vouches for them, and the look went on without."""
    clock_ahead_s: float | None = None
    """The server's clock minus ours, by an answer in HTTP; None: nobody told the time."""
    our_clock_is_kept: bool = True
    """This machine's clock is synchronized, as its kernel says; False: it may be the one of two that is wrong."""
    mail: MailLook | None = None
    relay_name: NameLook | None = None
    relay: RelayLook | None = None
    turn_name: NameLook | None = None
    turn: TurnLook | None = None
    turns_name: NameLook | None = None
    turns: TurnsLook | None = None
    call: CallLook | None = None
    swarm: SwarmLook | None = None
    accounts_left: int = 0
    """Accounts that stay on the server, at most."""
    packets: int | None = None
    """Packets that the look sent, to the server and for names."""
    too_slow: tuple[str, ...] = ()
    """Parts of the look that did not come to an end in time."""
    cut_short: tuple[str, ...] = ()
    """Parts of the look that would have sent more packets than it may."""
    not_looked_at: tuple[str, ...] = ()
    """Sentences on what was left out, and what allows it."""
