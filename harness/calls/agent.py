"""Call agents: aiortc peers, each in a process of its own on a host, driven over JSON lines (see `peer`)."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..closing import Closing
from ..hosts import Host, LocalHost, MissingCapability, end_process
from ..waiting import WaitTimeout, wait_until
from .quality import LONGEST_PAUSE, AudioFindings, Gap, Jump, MachineTooSlow, Pace, VideoFindings

__all__ = [
    "Agent",
    "AgentDied",
    "AgentError",
    "AgentEvent",
    "IceServer",
    "NoRelayCandidate",
    "Report",
    "SelectedPair",
    "Settings",
    "Stats",
    "Traffic",
    "calls_are_possible",
    "require_agents",
]

PEER_COMMAND = (sys.executable, "-P", "-m", "harness.calls.peer")
CLOSE_PATIENCE = 5.0
TAIL_LINES = 10


class AgentError(Exception):
    """An agent could not do what it was asked. The text has its words."""


class NoRelayCandidate(AgentError):
    """The TURN server gave the agent no relayed transport address. The text says what aioice saw."""


class AgentDied(AgentError):
    """The agent's process has ended by itself. The text has the end of its stderr."""


@dataclass(frozen=True)
class IceServer:
    """An entry of what core's `ice_servers()` returns."""

    urls: tuple[str, ...]
    username: str | None = None
    credential: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Settings:
    """One side of a call.

    `stream`: number of what it plays (0 to 255), `expect`: of what it should hear. `video`: width, height and pictures
    per second. `mutes`: seconds from the first sample, from and to, in which it plays silence.
    """

    ice_servers: Sequence[IceServer]
    stream: int
    expect: int
    policy: Literal["all", "relay"] = "all"
    audio: bool = True
    video: tuple[int, int, float] | None = None
    mutes: Sequence[tuple[float, float]] = ()
    trickle: bool = False
    """Send only relayed candidates in the SDP, and the others over the channel, as Delta Chat's call UI may."""
    retry_after: float = 0.05
    """Seconds until aioice repeats a check: with the 0.5 of the RFC most calls start half a second late."""
    channel_refresh: float = 500.0
    """Seconds until aioice binds a channel again, with what it sends next. It refreshes permissions never."""


@dataclass(frozen=True)
class AgentEvent:
    """Something that happened in an agent: unix seconds, kind, and the rest."""

    time: float
    kind: str
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class SelectedPair:
    """The candidate pair that carries the call; the addresses are IP and port."""

    local: str
    local_address: tuple[str, int]
    remote: str
    remote_address: tuple[str, int]

    @property
    def is_relayed(self) -> bool:
        """True if one side at least holds the allocation that the media goes through."""
        return "relay" in (self.local, self.remote)

    def __str__(self) -> str:
        return f"{self.local} to {self.remote}"


@dataclass(frozen=True)
class Traffic:
    """DTLS, RTP and RTCP at the ICE component: packets, and bytes of UDP payload as sent (encrypted)."""

    packets_sent: int
    bytes_sent: int
    packets_received: int
    bytes_received: int


@dataclass(frozen=True)
class Stats:
    """Counts and states of an agent's call so far."""

    traffic: Traffic
    pair: SelectedPair | None
    ice: str
    connection: str
    pace: Mapping[str, Pace]
    """Pace of each source, by its kind."""
    numbers_sent: int
    numbers_received: int
    numbers_in_order: bool

    @property
    def played(self) -> float:
        """Seconds that the sources have played, pauses not counted."""
        return max((each.seconds for each in self.pace.values()), default=0.0)

    def check_pace(self, name: str, longest_pause: float = LONGEST_PAUSE) -> None:
        """Raise `MachineTooSlow` if this agent did not send what it should have, or paused for longer (seconds)."""
        for kind, pace in self.pace.items():
            pace.check(f"{name}'s {kind}", longest_pause)


@dataclass(frozen=True)
class Report:
    """Findings of an agent about what it heard and saw, and the RTP packets of all streams as it counted them."""

    audio: AudioFindings | None
    video: VideoFindings | None
    packets: int
    packets_lost: int
    packets_duplicated: int
    packets_reordered: int


class Agent(Closing):
    """A peer process; `with Agent(...) as agent:` ends it whatever happens.

    `within`: seconds for each answer to a command; `MachineTooSlow` after that.
    """

    def __init__(
        self,
        logs: Path,
        name: str,
        *,
        host: Host | None = None,
        ca_file: Path | None = None,
        within: float = 30.0,
    ) -> None:
        """`ca_file`: verifies TURN servers over TLS. Raises `AgentError` where aiortc is not installed."""
        if not calls_are_possible():
            raise AgentError("calls need aiortc: pip install 'dc-harness[calls]'")
        self.name = name
        self.within = within
        self._host = host or LocalHost()
        self._ids = itertools.count(1)
        self._changed = threading.Condition()
        self._answers: dict[int, Mapping[str, Any]] = {}
        self._events: list[AgentEvent] = []
        self._ended = False
        self.has_connection = False
        """A call was opened, whatever became of it: before that an agent has sent nothing, and has no `stats`."""
        logs.mkdir(parents=True, exist_ok=True)
        self.log_file = logs / f"{name}.agent.log"
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        if ca_file is not None:
            environment["SSL_CERT_FILE"] = str(ca_file)
        with self.log_file.open("wb") as stderr:
            self._process = self._host.popen(
                PEER_COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=environment,
                process_group=0,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def offer(self, settings: Settings) -> str:
        """Open a call and return its SDP with all candidates. Raises `NoRelayCandidate`."""
        self.has_connection = True
        return str(self._ask("offer", settings=self._plain(settings))["sdp"])

    def answer(self, settings: Settings, offer: str) -> str:
        """Open a call that was offered; result and errors as in `offer`."""
        self.has_connection = True
        return str(self._ask("answer", settings=self._plain(settings), sdp=offer)["sdp"])

    def set_answer(self, answer: str) -> None:
        """Tell the agent that offered what the other one answered."""
        self._ask("set_answer", sdp=answer)

    def mute(self, *, audio: bool, video: bool = False) -> None:
        """Play silence or black, and tell the other side over the channel `mutedState`."""
        self._ask("mute", audio=audio, video=video)

    def pause(self, paused: bool = True) -> None:
        """Let the sources send nothing, or go on."""
        self._ask("pause", paused=paused)

    def send_numbers(self, count: int) -> None:
        """Begin to send messages, 100 a second, over the harness's own data channel; `stats` says how many."""
        self._ask("send", count=count)

    def stats(self) -> Stats:
        """Counts and states of the call so far; also after `hang_up`."""
        found = self._ask("stats")
        transport, pair = found["transport"], found["pair"]
        return Stats(
            traffic=Traffic(
                transport["packetsSent"],
                transport["bytesSent"],
                transport["packetsReceived"],
                transport["bytesReceived"],
            ),
            pair=None
            if pair is None
            else SelectedPair(
                pair["local"],
                (pair["local_address"][0], pair["local_address"][1]),
                pair["remote"],
                (pair["remote_address"][0], pair["remote_address"][1]),
            ),
            ice=found["ice"],
            connection=found["connection"],
            pace={kind: Pace(**each) for kind, each in found["pace"].items()},
            numbers_sent=found["numbers_sent"],
            numbers_received=found["numbers_received"],
            numbers_in_order=found["numbers_in_order"],
        )

    def report(self, other: Agent) -> Report:
        """Judge what arrived from the other side's agent, in the light of what it says that it sent."""
        found = self._ask("report", sent=other._ask("sent"))
        rtp = found["rtp"]
        return Report(
            audio=None if found["audio"] is None else _audio_findings(found["audio"]),
            video=None if found["video"] is None else _video_findings(found["video"]),
            packets=rtp["received"],
            packets_lost=rtp["lost"],
            packets_duplicated=rtp["duplicates"],
            packets_reordered=rtp["reordered"],
        )

    def hang_up(self) -> None:
        """Close the call, which ends its allocations at the TURN server."""
        self._ask("close")

    def events(self, kind: str, **fields: Any) -> tuple[AgentEvent, ...]:
        """The events of one kind so far whose fields have these values."""
        with self._changed:
            return tuple(self._matching(kind, fields))

    def wait_for(self, kind: str, what: str | None = None, *, within: float, **fields: Any) -> AgentEvent:
        """The first event of this kind with these values, past or coming. Raises `WaitTimeout`, `AgentDied`."""

        def happened() -> AgentEvent | None:
            found = next(self._matching(kind, fields), None)
            if found is None and self._ended:
                raise self._died()
            return found

        return wait_until(
            happened,
            f"{what or kind} at the agent {self.name}",
            within=within,
            seen=self._describe,
            woken_by=self._changed,
        )

    def close(self) -> None:
        """Close the call, end the process and reap it. A second call does nothing."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.close()  # the program closes its call, and with it the allocations, before it ends
            self._process.wait(CLOSE_PATIENCE)
        except (OSError, subprocess.TimeoutExpired):
            pass  # it is ended below
        end_process(self._process, patience=CLOSE_PATIENCE)
        self._reader.join()
        self._process.stdout.close()

    def _plain(self, settings: Settings) -> dict[str, Any]:
        return {**asdict(settings), "addresses": [self._host.address]}

    def _ask(self, command: str, **fields: Any) -> Mapping[str, Any]:
        number = next(self._ids)
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(
                json.dumps({"id": number, "command": command, **fields}).encode() + b"\n"
            )
            self._process.stdin.flush()
        except (OSError, ValueError) as error:
            raise self._died() from error

        def answered() -> Mapping[str, Any] | None:
            answer = self._answers.pop(number, None)
            if answer is None and self._ended:
                raise self._died()
            return answer

        what = f"the answer of agent {self.name} to {command}"
        try:
            answer = wait_until(answered, what, within=self.within, woken_by=self._changed)
        except (
            WaitTimeout
        ) as error:  # gathering candidates, the longest that depends on others, ends after 5 s
            raise MachineTooSlow(f"machine too slow ({error})") from error
        if not answer["ok"]:
            kind = NoRelayCandidate if answer["kind"] == NoRelayCandidate.__name__ else AgentError
            raise kind(f"{self.name}: {answer['error']}")
        result: Mapping[str, Any] = answer["result"]
        return result

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            with self._changed:
                if "event" in message:
                    event = AgentEvent(message.pop("time"), message.pop("event"), message)
                    self._events.append(event)
                else:
                    self._answers[message["id"]] = message
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _matching(self, kind: str, fields: Mapping[str, Any]) -> Iterator[AgentEvent]:
        for event in self._events:
            if event.kind == kind and all(event.fields.get(name) == each for name, each in fields.items()):
                yield event

    def _describe(self) -> str:
        with self._changed:
            states = [f"{each.kind} {each.fields.get('state', '')}".strip() for each in self._events]
        return ", ".join(states) or "no events"

    def _died(self) -> AgentDied:
        tail = self.log_file.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        said = "\n  ".join(tail) if tail else "(nothing)"
        return AgentDied(f"the agent {self.name} has ended. The end of {self.log_file}:\n  {said}")


def calls_are_possible() -> bool:
    """True if this machine has the capability `calls`: the optional package aiortc."""
    return importlib.util.find_spec("aiortc") is not None


def require_agents() -> None:
    """Raise `MissingCapability`, with the command that heals it, where no agent can run."""
    if not calls_are_possible():
        raise MissingCapability(
            "calls", "aiortc is not installed", heal="pip install 'dc-harness[calls]', in a checkout ./setup"
        )


def _audio_findings(found: Mapping[str, Any]) -> AudioFindings:
    return AudioFindings(
        **{
            **found,
            "gaps": tuple(Gap(**each) for each in found["gaps"]),
            "jumps": tuple(Jump(**each) for each in found["jumps"]),
            "stalls": tuple(found["stalls"]),
            "others": {int(stream): part for stream, part in found["others"].items()},
            "delays": tuple(found["delays"]),
        }
    )


def _video_findings(found: Mapping[str, Any]) -> VideoFindings:
    return VideoFindings(
        **{
            **found,
            "foreign": {int(stream): count for stream, count in found["foreign"].items()},
            "freezes": tuple(found["freezes"]),
            "delays": tuple(found["delays"]),
        }
    )
