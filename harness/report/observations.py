"""Things that checks saw, as small records with units: renderers read these, and parse no label.

In a file an observation is an object with its `kind`, its `version` and its fields. A field never changes its meaning:
a new meaning gets a new name, and `version` goes up. So a reader understands what it knows of a newer version; what it
does not know becomes an `Unrecognised` and is shown as it stands.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from .plain import Json, decoded, encoded

__all__ = [
    "KINDS",
    "AccountsLeft",
    "CallDirection",
    "CallPhases",
    "CallSeen",
    "CertificateSeen",
    "DeviceAt",
    "FlowSeen",
    "HopSeen",
    "LegSeen",
    "LinkSeen",
    "Listener",
    "LoadSeen",
    "MachineSeen",
    "MatrixCell",
    "Measured",
    "NameLookup",
    "Observation",
    "PathSeen",
    "ServerSeen",
    "SwarmDirection",
    "SwarmSeen",
    "Timing",
    "TrafficSeen",
    "Unrecognised",
    "read_observations",
]

KINDS: dict[str, type[Observation]] = {}
"""Class of each kind that this version knows."""


@dataclass(frozen=True)
class Observation:
    """Base class. A subclass has plain fields, and is known by its `kind`."""

    kind: ClassVar[str] = ""
    version: ClassVar[int] = 1
    identity: ClassVar[tuple[str, ...]] = ()
    """Names of the fields that say what it is about."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.kind:
            KINDS[cls.kind] = cls

    @property
    def about(self) -> Hashable:
        """Of two with the same, the later one is the newer word on one thing; None: it stands for itself."""
        return (self.kind, *(getattr(self, name) for name in self.identity)) if self.identity else None

    def to_json(self) -> dict[str, Json]:
        """Plain data, which `read_observations` reads."""
        return {"kind": self.kind, "version": self.version, **encoded(self)}


@dataclass(frozen=True)
class Unrecognised(Observation):
    """Something that another version saw, or the fields of a known kind that only another version has."""

    of_kind: str
    of_version: int = 1
    fields: Mapping[str, Json] = field(default_factory=dict)

    def to_json(self) -> dict[str, Json]:
        """As it was read."""
        return {"kind": self.of_kind, "version": self.of_version, **self.fields}


# Calls


@dataclass(frozen=True)
class CallPhases:
    """Times at which each step of setting a call up was done: ms after the click. None: it was not reached."""

    offer_ms: float | None = None
    """The caller's agent has its candidates."""
    ring_ms: float | None = None
    """The callee's phone rings."""
    answer_ms: float | None = None
    """The callee's agent has answered."""
    accepted_ms: float | None = None
    """The caller's phone has the answer."""
    connected_ms: float | None = None
    """Both agents have a pair of candidates, and have done DTLS on it."""
    first_audio_ms: float | None = None
    """Both sides heard something."""


@dataclass(frozen=True)
class CallDirection:
    """Media from one side of a call to the other, in packets; None: not known."""

    sender: str
    receiver: str
    sent: int
    """Packets, as the sender's agent counted them."""
    server: int | None
    """Packets that the TURN server carried; None: it keeps no ledger."""
    received: int
    """Packets, as the receiver's agent counted them."""
    lost: int
    """RTP packets whose sequence numbers are missing at the receiver."""
    delay_ms: float | None = None
    """Median over the audio frames, from sending to hearing."""
    heard_s: float | None = None
    """Audio that was recognised; None: there was none to hear."""
    gaps_ms: tuple[float, ...] = ()
    """Silences in the audio as heard, on its own time line."""
    stall_ms: float = 0.0
    """Longest time without any audio frame, on the wall clock; 0: none that matters."""
    pictures: int | None = None
    """Video frames that were seen; None: the call had no video."""
    gap_starts_s: tuple[float, ...] = ()
    """Beginning of each of `gaps_ms`, after the first sound."""
    delay_course_ms: tuple[float, ...] = ()
    """Medians of the delay in equal parts of the call, in their order."""


@dataclass(frozen=True)
class CallSeen(Observation):
    """One call, from the click to the account of its media."""

    kind: ClassVar[str] = "call"
    version: ClassVar[int] = 2
    identity: ClassVar[tuple[str, ...]] = ("name",)

    name: str
    phases: CallPhases = field(default_factory=CallPhases)
    path: str = ""
    """By the candidates that the agents selected: `direct`, `relayed` or `none`; empty: nobody talked."""
    directions: tuple[CallDirection, ...] = ()


# Realtime data


@dataclass(frozen=True)
class SwarmDirection:
    """Messages from one device of a swarm to another."""

    sender: str
    receiver: str
    sent: int
    delivered: int
    """Different messages that arrived at least once."""
    duplicates: int = 0
    """Arrivals beyond the first of each message."""
    out_of_order: int = 0
    """First arrivals after a message that was sent later."""
    strange: int = 0
    """Arrivals of messages that nobody sent."""


@dataclass(frozen=True)
class SwarmSeen(Observation):
    """One exchange of realtime messages, in which each device sends to all others."""

    kind: ClassVar[str] = "swarm"
    identity: ClassVar[tuple[str, ...]] = ("subject", "phase")

    phase: str
    directions: tuple[SwarmDirection, ...]
    latency_median_ms: float | None = None
    """Over all first arrivals, from handing a message to one core to the other core's event; None: nothing arrived."""
    latency_max_ms: float | None = None
    longest_silence_s: float | None = None
    """Between two first arrivals in one direction, while everybody sent without a pause; None: not looked at."""
    subject: str = ""
    """The swarm, where a check has several."""


# Paths


@dataclass(frozen=True)
class LoadSeen:
    """An amount that was counted somewhere."""

    packets: int = 0
    """UDP packets."""
    bytes: int = 0
    """Payload of those packets."""
    tcp_bytes: int = 0
    """Bytes that went over TCP."""


@dataclass(frozen=True)
class LegSeen:
    """Something that one party had for another. One of the two is a device at whose edge was counted."""

    source: str
    target: str
    way: str
    """`direct`, `relayed` or `foreign`."""
    attempted: LoadSeen | None = None
    """Counted where it left; None: nobody counted there."""
    delivered: LoadSeen | None = None
    """Counted where it arrived; None: nobody counted there."""


@dataclass(frozen=True)
class HopSeen:
    """Count of one witness at one place, in the order of the way."""

    witness: str
    place: str
    load: LoadSeen


@dataclass(frozen=True)
class DeviceAt:
    """A device, and where it was."""

    name: str
    network: str = ""
    """Kind of its network."""
    behind: tuple[str, ...] = ()
    """Routers in front of it, from the inside out."""


@dataclass(frozen=True)
class PathSeen(Observation):
    """The way that the bytes of one phase took, by witnesses that must agree."""

    kind: ClassVar[str] = "path"
    identity: ClassVar[tuple[str, ...]] = ("subject", "phase")

    phase: str
    name: str
    """For people: `relayed(turn)`, `mixed(direct 40 %, turn 60 %)`."""
    verdict: str
    """`direct`, `relayed`, `mixed`, `none`, `foreign`, `not proven` or `disagreement`."""
    by: tuple[str, ...] = ()
    """Services that relayed (`turn`, `iroh_relay`), or addresses of strangers."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Part of the delivered bytes, 0 to 1: of `direct`, and of each service and stranger."""
    delivered_directly: int = 0
    """UDP packets that arrived at a device from another."""
    attempted_directly: int = 0
    """UDP packets from device to device that left one, whether they arrived or not."""
    witnesses: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()
    """Sentences on witnesses that do not agree."""
    doubts: tuple[str, ...] = ()
    """Reasons for which it is not proven."""
    legs: tuple[LegSeen, ...] = ()
    hops: tuple[HopSeen, ...] = ()
    devices: tuple[DeviceAt, ...] = ()
    relays: tuple[str, ...] = ()
    """Services that may have carried something."""
    subject: str = ""
    """The call or the pair of networks, where a check has several."""


@dataclass(frozen=True)
class MatrixCell(Observation):
    """A call, or realtime data, that was tried between two networks."""

    kind: ClassVar[str] = "matrix_cell"
    identity: ClassVar[tuple[str, ...]] = ("medium", "first", "second")

    medium: Literal["call", "realtime"]
    first: str
    """Network of the caller, or of one device, by its name."""
    second: str
    """Network of the callee, or of the other device."""
    expected: str
    """Verdict that follows from what the networks do to packets: `direct`, `relayed` or `none`."""
    found: str
    """Verdict of the witnesses, as in `PathSeen`."""
    why: str = ""
    """Expectation, in words."""
    legs: int | None = None
    """Sides of a call that have a relayed transport address: 0 to 2; None: not a call."""
    over_tcp: str | None = None
    """Verdict for the same call over TURN on TCP or TLS, which no Delta Chat does yet; None: not tried."""

    @property
    def as_expected(self) -> bool:
        return self.found == self.expected


@dataclass(frozen=True)
class FlowSeen:
    """Bytes between a device and somebody else, behind the IP header."""

    device: str
    other: str
    """Another device, a service, or an address; empty: everybody together."""
    sent_bytes: int
    received_bytes: int
    family: Literal["", "IPv4", "IPv6"] = ""
    """Empty: both together."""


@dataclass(frozen=True)
class TrafficSeen(Observation):
    """Everything that devices sent and received in a phase, as counted at their edges."""

    kind: ClassVar[str] = "traffic"
    identity: ClassVar[tuple[str, ...]] = ("subject", "phase")

    phase: str
    flows: tuple[FlowSeen, ...]
    subject: str = ""


@dataclass(frozen=True)
class LinkSeen(Observation):
    """A link that the lab made worse in both directions, and what it really took away."""

    kind: ClassVar[str] = "link"
    identity: ClassVar[tuple[str, ...]] = ("subject",)

    subject: str
    """The call or the swarm that went over it."""
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    """Share of the packets, 0 to 1."""
    reorder: float = 0.0
    """Share of the packets, 0 to 1."""
    rate_kbit: int | None = None
    """Kilobits (1000) per second; None: no limit."""
    seed: int | None = None
    """Number from which it follows which packets are lost; None: chance."""
    taken_up: int | None = None
    """Packets from the device that the link swallowed; None: not counted."""
    taken_down: int | None = None
    """Packets to the device, likewise."""


# Numbers and words


@dataclass(frozen=True)
class Timing(Observation):
    """Durations of something that happened several times."""

    kind: ClassVar[str] = "timing"
    identity: ClassVar[tuple[str, ...]] = ("subject", "name")

    name: str
    """From what to what."""
    seconds: tuple[float, ...]
    most_s: float | None = None
    """Longest time that it may take; None: there is no limit."""
    subject: str = ""


@dataclass(frozen=True)
class NameLookup(Observation):
    """A name that METADATA gives, as one who looks for it fares."""

    kind: ClassVar[str] = "name_lookup"
    identity: ClassVar[tuple[str, ...]] = ("name", "case")

    name: str
    case: str = ""
    """State of the name server; empty: as it is."""
    addresses: tuple[str, ...] = ()
    seconds: float | None = None
    """None: nobody measured."""
    cause: str = ""
    """Reason for which calls will not find the target's server; empty if they will."""
    used: tuple[str, ...] | None = None
    """URLs that the client has for a call afterwards; None: no client was asked."""
    client_seconds: float | None = None
    """Seconds that the client took."""


@dataclass(frozen=True)
class Measured(Observation):
    """One number or word, such as `TURN credentials are valid for` 86400 s."""

    kind: ClassVar[str] = "measured"
    identity: ClassVar[tuple[str, ...]] = ("subject", "name")

    name: str
    value: bool | int | float | str | None
    unit: str = ""
    subject: str = ""


@dataclass(frozen=True)
class AccountsLeft(Observation):
    """Accounts that a check left on a server of somebody else, at most."""

    kind: ClassVar[str] = "accounts_left"

    count: int


# The head of a run


@dataclass(frozen=True)
class MachineSeen(Observation):
    """The machine that the run was on, and what it can prove."""

    kind: ClassVar[str] = "machine"
    version: ClassVar[int] = 2

    abilities: tuple[str, ...] = ()
    """Sentences."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Program -> version: the harness, Python, libraries that matter."""
    hostname: str = ""
    """Its own name; empty: not known."""


@dataclass(frozen=True)
class Listener:
    """A port at which a service was looked for."""

    service: str
    address: str
    port: int
    transport: Literal["tcp", "udp", "tls"]
    answers: bool


@dataclass(frozen=True)
class CertificateSeen:
    """One that a port of the server showed."""

    service: str
    names: tuple[str, ...]
    issuer: str
    expires: float
    """Unix seconds."""
    trusted: bool
    """By this machine, for the name that clients use."""


@dataclass(frozen=True)
class ServerSeen(Observation):
    """Everything that was looked up of a server before any check; None or empty: not looked up."""

    kind: ClassVar[str] = "server"
    identity: ClassVar[tuple[str, ...]] = ("name",)

    name: str
    domain: str = ""
    addresses: tuple[str, ...] = ()
    listeners: tuple[Listener, ...] = ()
    certificates: tuple[CertificateSeen, ...] = ()
    imap_capabilities: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()
    """Keys of METADATA that have a value. Values are left out: that of TURN has a password."""
    relay_generations: tuple[str, ...] = ()
    """Versions of iroh whose nodes the iroh relay lets in: `0.35`, `0.91 and later`."""
    turn_transports: tuple[str, ...] = ()
    """`udp`, `tcp`, `tls`."""
    clock_ahead_s: float | None = None
    """Its clock minus ours."""
    capabilities: tuple[str, ...] = ()
    """As checks may need them."""


def read_observations(found: Iterable[Mapping[str, Json]]) -> Iterator[Observation]:
    """The observations behind plain data. Fields that are not known follow as an `Unrecognised` of that kind."""
    for data in found:
        rest = dict(data)
        kind, version = rest.pop("kind", ""), rest.pop("version", 1)
        of = str(kind), version if isinstance(version, int) else 0
        if (known := KINDS.get(of[0])) is None:
            yield Unrecognised(*of, rest)
            continue
        names = {each.name for each in dataclasses.fields(known)}
        try:
            yield decoded({name: value for name, value in rest.items() if name in names}, known)
        except ValueError:
            yield Unrecognised(*of, rest)
            continue
        if more := {name: value for name, value in rest.items() if name not in names}:
            yield Unrecognised(*of, more)
