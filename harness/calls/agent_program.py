"""The program of a call agent: one aiortc peer. `python -P -m harness.calls.agent_program`.

It is driven by JSON lines (see `process`). stderr has aioice's log.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import dataclasses
import functools
import json
import logging
import sys
import time
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any

import aioice.ice
import aioice.stun
import aioice.turn
import aiortc.rtcrtpreceiver
from aiortc import (
    RTCConfiguration,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.sdp import candidate_from_sdp

from ..errors import plain
from ..urls import TurnUrl
from .media import SAMPLE_RATE, Mute, Noise
from .quality import SequenceCounter, judge_audio, judge_video
from .tracks import AudioSource, Sink, Source, VideoSource, jitter_buffer, tap

create_turn_endpoint: Any = aioice.turn.create_turn_endpoint
"""As aioice has it."""

LINE_LIMIT = 1 << 24
TRICKLING, MUTED_STATE, NUMBERS = ("iceTrickling", 1), ("mutedState", 3), ("harness", 5)
"""Data channels, negotiated by number: the first two are those of Delta Chat's call UI."""

NUMBER_INTERVAL = 0.01
"""Seconds between two messages over the harness's own channel."""

DIRECT_FIRST = 1.0
"""Seconds, for each end of a pair that is a relay, which its nomination waits for better pairs to be decided.

libwebrtc, which Delta Chat calls with, moves a call to the best pair that answers; aioice stays with the first. Where
both have public addresses that is often the relay. A direct check is answered in well under 0.1 s; under load 0.5 s
were too short once in 55 calls.
"""
DECIDE_EVERY = 0.02
"""Seconds from one look at the other pairs to the next: aioice's own pace of checks."""

relay_errors: list[str] = []
"""Reasons for which a TURN server gave no relay candidate; aioice itself keeps quiet about them."""


class NoRelayCandidate(Exception):
    """A TURN server was given, and the offer or answer has no candidate of type relay."""


class AgentCall:
    """One call: a peer connection, its sources and its sinks."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self._urls = [TurnUrl.parse(url) for each in settings["ice_servers"] for url in each["urls"]]
        self._noise = Noise(settings["stream"])
        self.sources: dict[str, Source] = {}
        self._counters: dict[int, SequenceCounter] = {}
        self._transports: dict[int, Any] = {}
        self._numbers: list[int] = []
        self._sent_numbers = 0
        self._sending: asyncio.Future[None] | None = None
        self._later: list[dict[str, Any]] = []
        self.sink = Sink(on_first=lambda kind: emit("first", media=kind))
        policy = RTCIceTransportPolicy(settings["policy"])
        self.connection = RTCPeerConnection(
            RTCConfiguration(iceServers=self._ice_servers(), iceTransportPolicy=policy)
        )
        self._open()

    def _ice_servers(self) -> list[RTCIceServer]:
        """The servers as given, and as libwebrtc does, each TURN server over UDP as a STUN server too."""
        servers = [
            RTCIceServer(each["urls"], each.get("username"), each.get("credential"))
            for each in self._settings["ice_servers"]
        ]
        stun = [
            RTCIceServer([str(dataclasses.replace(url, scheme="stun"))])
            for url in self._urls
            if url.scheme == "turn" and url.transport == "udp"
        ]
        return servers + stun

    def _open(self) -> None:
        """Tracks first, then channels: the other order breaks aiortc's bundling."""
        connection, settings = self.connection, self._settings
        connection.on("track", self._on_track)
        connection.on("iceconnectionstatechange", lambda: emit("ice", state=connection.iceConnectionState))
        connection.on("connectionstatechange", lambda: emit("connection", state=connection.connectionState))
        if settings["audio"]:
            mutes = [
                Mute(round(start * SAMPLE_RATE), round(end * SAMPLE_RATE)) for start, end in settings["mutes"]
            ]
            self.sources["audio"] = AudioSource(self._noise, mutes)
        if settings["video"]:
            self.sources["video"] = VideoSource(settings["stream"], *settings["video"])
        for source in self.sources.values():
            connection.addTrack(source)
        self._trickling, self._muted, self._harness = (
            connection.createDataChannel(label, negotiated=True, id=number)
            for label, number in (TRICKLING, MUTED_STATE, NUMBERS)
        )
        self._trickling.on("open", self._trickle)
        self._trickling.on("message", self._on_candidate)
        self._muted.on("message", lambda text: emit("muted", **json.loads(text)))
        self._harness.on("message", lambda text: self._numbers.append(int(text)))
        for channel in (self._trickling, self._muted, self._harness):
            channel.on("open", lambda label=channel.label: emit("channel", label=label))

    async def offer(self) -> dict[str, Any]:
        await self._describe(self.connection.createOffer)
        return {"sdp": self._sdp()}

    async def answer(self, sdp: str) -> dict[str, Any]:
        await self.connection.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        await self._describe(self.connection.createAnswer)
        return {"sdp": self._sdp()}

    def _sdp(self) -> str:
        """Our description: all candidates, or only the relayed ones, and the others later over the channel."""
        sdp = str(self.connection.localDescription.sdp)
        if not self._settings["trickle"]:
            return sdp
        sdp, self._later = split_candidates(sdp)
        return sdp

    def _trickle(self) -> None:
        for candidate in self._later:
            self._trickling.send(json.dumps(candidate))
        self._trickling.send("null")

    async def set_answer(self, sdp: str) -> dict[str, Any]:
        await self.connection.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
        self._keep_transports()
        return {}

    async def _describe(self, create: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Gather candidates. What has no relay candidate although it should fails here, not half a minute later.

        An offerer gathers for each section: one of them without a relay can be that which the answerer takes.
        """
        relay_errors.clear()
        await self.connection.setLocalDescription(await create())
        self._keep_transports()
        turn = [url for url in self._urls if url.scheme != "stun"]
        if turn and (relay_errors or " typ relay" not in self.connection.localDescription.sdp):
            await self.connection.close()
            reasons = sorted(set(relay_errors)) or ["aioice did not say why"]
            raise NoRelayCandidate(
                f"no relay candidate from {', '.join(map(str, turn))}: {'; '.join(reasons)}"
            )

    def _keep_transports(self) -> None:
        """An offerer has one for each section, all but one are dropped at the answer: count them all."""
        ends = [end for each in self.connection.getTransceivers() for end in (each.sender, each.receiver)]
        for end in [*ends, self.connection.sctp]:
            if end is not None and end.transport is not None:
                self._transports[id(end.transport)] = end.transport

    def mute(self, audio: bool, video: bool) -> None:
        for kind, muted in (("audio", audio), ("video", video)):
            if kind in self.sources:
                self.sources[kind].muted = muted
        self._muted.send(json.dumps({"audioEnabled": not audio, "videoEnabled": not video}))

    def pause(self, paused: bool) -> None:
        for source in self.sources.values():
            source.pause(paused)

    def send(self, count: int) -> None:
        self._sending = asyncio.ensure_future(self._send_numbers(count))

    async def _send_numbers(self, count: int) -> None:
        """Not all at once: a burst overflows the buffers of sockets, which says nothing about the way."""
        for _ in range(count):
            self._harness.send(str(self._sent_numbers))
            self._sent_numbers += 1
            await asyncio.sleep(NUMBER_INTERVAL)

    def stats(self) -> dict[str, Any]:
        """`transport`: DTLS, RTP and RTCP as sent and received, packets and encrypted bytes, all transports."""
        totals = dict.fromkeys(("packetsSent", "bytesSent", "packetsReceived", "bytesReceived"), 0)
        for transport in self._transports.values():
            for entry in transport._get_stats().values():
                for name in totals:
                    totals[name] += getattr(entry, name)
        return {
            "transport": totals,
            "pair": self._selected_pair(),
            "ice": self.connection.iceConnectionState,
            "connection": self.connection.connectionState,
            "pace": {kind: dataclasses.asdict(source.pace()) for kind, source in self.sources.items()},
            "numbers_sent": self._sent_numbers,
            "numbers_received": len(set(self._numbers)),
            "numbers_in_order": self._numbers == sorted(set(self._numbers)),
        }

    def _selected_pair(self) -> dict[str, Any] | None:
        """aiortc has no statistics of candidate pairs: the one look into its private parts is here."""
        for transport in self._transports.values():
            nominated = transport.transport._connection._nominated.get(1)
            if nominated is not None:
                return {
                    "local": nominated.local_candidate.type,
                    "local_address": list(nominated.local_addr),
                    "remote": nominated.remote_candidate.type,
                    "remote_address": list(nominated.remote_addr),
                }
        return None

    async def report(self, sent: Mapping[str, list[float]]) -> dict[str, Any]:
        """Findings, as the fields of `AudioFindings` and `VideoFindings`; None for what was not to come.

        `sent`: for each kind of media when the other side sent each frame, on the machine's monotonic clock.
        """
        expected = self._settings["expect"]
        findings: dict[str, Any] = {"audio": None, "video": None}
        if "audio" in sent:
            audio = await asyncio.to_thread(
                judge_audio,
                copy.deepcopy(self.sink.audio),
                Noise(expected),
                others=[self._noise],
                sent=sent["audio"],
            )
            findings["audio"] = dataclasses.asdict(audio)
        if frames := sent.get("video"):
            video = judge_video(self.sink.pictures, expected, last_sent=len(frames) - 1, until=frames[-1])
            findings["video"] = dataclasses.asdict(video)
        counters = self._counters.values()
        findings["rtp"] = {
            name: sum(getattr(each, name) for each in counters)
            for name in ("received", "lost", "duplicates", "reordered")
        }
        return findings

    def _on_track(self, track: Any) -> None:
        for transceiver in self.connection.getTransceivers():
            if transceiver.receiver.track is track:
                tap(transceiver.receiver, self._counters)
        self.sink.listen(track)

    async def _on_candidate(self, text: str) -> None:
        """As Delta Chat's call UI sends them: RTCIceCandidateInit as JSON, null at the end."""
        init = json.loads(text)
        emit("candidate", candidate=init and init["candidate"])
        if init is None or not init["candidate"]:
            await self.connection.addIceCandidate(None)
            return
        candidate = candidate_from_sdp(init["candidate"].removeprefix("candidate:"))
        candidate.sdpMid = init.get("sdpMid")
        candidate.sdpMLineIndex = init.get("sdpMLineIndex")
        await self.connection.addIceCandidate(candidate)


class AgentProgram:
    """Takes commands one after the other."""

    def __init__(self) -> None:
        self._call: AgentCall | None = None

    async def run(self, command: str, fields: Mapping[str, Any]) -> Any:
        """The result of one command."""
        if command in ("offer", "answer"):
            settings = fields["settings"]
            aioice.stun.RETRY_RTO = settings["retry_after"]
            refresh_channels_after(settings["channel_refresh"])
            offer_addresses(settings["addresses"])
            self._call = AgentCall(settings)
            return await (self._call.offer() if command == "offer" else self._call.answer(fields["sdp"]))
        if self._call is None:
            raise ValueError(f"{command} before offer or answer")
        call = self._call
        if command == "set_answer":
            return await call.set_answer(fields["sdp"])
        if command == "report":
            return await call.report(fields["sent"])
        if command == "stats":
            return call.stats()
        if command == "sent":
            return {kind: source.sent for kind, source in call.sources.items()}
        if command == "close":
            await call.connection.close()
        elif command == "mute":
            call.mute(fields["audio"], fields["video"])
        elif command == "pause":
            call.pause(fields["paused"])
        elif command == "send":
            call.send(fields["count"])
        else:
            raise ValueError(f"no such command: {command}")
        return {}

    async def close(self) -> None:
        if self._call is not None:
            await self._call.connection.close()


def split_candidates(sdp: str) -> tuple[str, list[dict[str, Any]]]:
    """A description with relayed candidates alone, and the others as RTCIceCandidateInit."""
    kept, later = [], []
    section = -1
    for line in sdp.splitlines():
        section += line.startswith("m=")
        if line == "a=end-of-candidates":
            continue
        if line.startswith("a=candidate:") and " typ relay" not in line:
            later.append(
                {"candidate": line.removeprefix("a="), "sdpMid": str(section), "sdpMLineIndex": section}
            )
        else:
            kept.append(line)
    return "".join(f"{line}\r\n" for line in kept), later


def offer_addresses(addresses: list[str]) -> None:
    """Host candidates are those of the host that we stand for: an address without a way back costs five seconds."""

    def get_host_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        return [each for each in addresses if (use_ipv6 if ":" in each else use_ipv4)]

    aioice.ice.get_host_addresses = get_host_addresses


def refresh_channels_after(seconds: float) -> None:
    """aioice's number is the default of a parameter that nobody gives."""
    aioice.turn.create_turn_endpoint = functools.partial(create_turn_endpoint, channel_refresh_time=seconds)


def keep_relay_errors() -> None:
    """Remember what aioice would swallow."""
    original = aioice.ice.relayed_candidate

    async def relayed_candidate(**kwargs: Any) -> Any:
        server = ":".join(map(str, kwargs["turn_server"]))
        try:
            return await original(**kwargs)
        except asyncio.CancelledError:
            relay_errors.append(f"{server} did not answer in 5 s")
            raise
        except aioice.stun.TransactionFailed as refusal:
            code, reason = refusal.response.attributes.get("ERROR-CODE", (0, "without an error code"))
            relay_errors.append(f"{server} refused it: {code} {reason}".rstrip())
            raise
        except Exception as error:
            relay_errors.append(f"{server}: {plain(error)}")
            raise

    aioice.ice.relayed_candidate = relayed_candidate


def prefer_direct_pairs() -> None:
    """Let the side that nominates hold back each pair with a relay, while there are undecided ones with fewer relays.

    It is checked at once, without nomination: that installs permissions at TURN, without which the checks of the
    other side would come to nothing. With the policy `relay` all pairs are alike, and nothing waits.
    """
    original = aioice.ice.Connection.check_start
    state = aioice.ice.CandidatePair.State
    succeeded = {state.SUCCEEDED}
    undecided = set(state) - {state.SUCCEEDED, state.FAILED}

    def relays(pair: aioice.ice.CandidatePair) -> int:
        return [pair.local_candidate.type, pair.remote_candidate.type].count("relay")

    async def check_start(connection: aioice.ice.Connection, pair: aioice.ice.CandidatePair) -> None:
        def better(states: Collection[aioice.ice.CandidatePair.State]) -> bool:
            """True if a pair with fewer relays is in one of these states, and it is up to us to nominate."""
            others = connection._check_list
            found = any(each.state in states and relays(each) < relays(pair) for each in others)
            return connection.ice_controlling and found

        pair.state = state.IN_PROGRESS  # one that waits would keep aioice from starting the others
        if better(undecided):
            request = connection.build_request(pair, nominate=False)
            key = str(connection.remote_password).encode()
            with contextlib.suppress(aioice.stun.TransactionError):  # the check below finds out again
                await pair.protocol.request(request, pair.remote_addr, integrity_key=key)
        for _ in range(round(DIRECT_FIRST / DECIDE_EVERY) * relays(pair)):
            if not better(undecided):
                break
            await asyncio.sleep(DECIDE_EVERY)
        # Else the other is nominated, and the last to be nominated would take its place.
        if not better(succeeded):
            await original(connection, pair)

    aioice.ice.Connection.check_start = check_start  # type: ignore[method-assign, assignment]


def emit(event: str, **fields: Any) -> None:
    _write({"event": event, "time": time.time(), **fields})


def _write(message: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


class _Commands(asyncio.StreamReaderProtocol):
    """Lines of stdin, and `ended`: whoever asks is gone, and nobody waits for the command at work any more."""

    def __init__(self, lines: asyncio.StreamReader, ended: asyncio.Event) -> None:
        super().__init__(lines)
        self._ended = ended

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._ended.set()


async def serve() -> None:
    """Obey commands until stdin ends."""
    lines, ended = asyncio.StreamReader(limit=LINE_LIMIT), asyncio.Event()
    await asyncio.get_running_loop().connect_read_pipe(lambda: _Commands(lines, ended), sys.stdin)
    program = AgentProgram()
    emit("ready")
    try:
        while not ended.is_set() and (line := await lines.readline()):
            command = asyncio.create_task(_obey(program, json.loads(line)))
            waits = asyncio.create_task(ended.wait())
            await asyncio.wait({command, waits}, return_when=asyncio.FIRST_COMPLETED)
            command.cancel()
            waits.cancel()
    finally:
        await program.close()


async def _obey(program: AgentProgram, request: Mapping[str, Any]) -> None:
    try:
        result = await program.run(request["command"], request)
        _write({"id": request["id"], "ok": True, "result": result})
    except Exception as error:
        if not isinstance(error, NoRelayCandidate):  # that is an answer, and no fault of ours
            logging.exception("%s failed", request["command"])
        _write({"id": request["id"], "ok": False, "kind": type(error).__name__, "error": plain(error)})


def main() -> int:
    """Run one agent until stdin ends; the exit code is 0."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    aiortc.rtcrtpreceiver.JitterBuffer = jitter_buffer  # type: ignore[assignment, attr-defined]
    keep_relay_errors()
    prefer_direct_pairs()
    asyncio.run(serve())
    return 0


if __name__ == "__main__":
    sys.exit(main())
