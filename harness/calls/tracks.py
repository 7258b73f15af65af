"""The two ends of a media stream inside an aiortc peer: what is played, and what keeps all that arrives."""

from __future__ import annotations

import asyncio
import fractions
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import av
from aiortc import MediaStreamTrack
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.mediastreams import MediaStreamError

from .media import FRAME_SAMPLES, SAMPLE_RATE, Cells, Mute, Noise, draw_cells, is_dark, narrow, read_cells
from .quality import AudioRecording, Pace, Picture, SequenceCounter

__all__ = ["AudioSource", "Sink", "Source", "VideoSource", "jitter_buffer", "tap"]

VIDEO_CLOCK = 90_000
MOST_PICTURES = 100_000
"""Pictures that are kept; what comes after them is not judged."""


class Source(MediaStreamTrack):
    """A track that keeps its own pace, and says how well."""

    per_second: float

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[float] = []
        """Times at which the frames were handed over, seconds of the machine's monotonic clock."""
        self.muted = False
        self._going = asyncio.Event()
        self._going.set()
        self._due = 0.0
        self._started: float | None = None
        """Time at which the first frame since the start or the latest pause was due."""
        self._played = 0.0
        """Seconds of playing before the latest pause."""
        self._longest_pause = 0.0

    def pause(self, paused: bool) -> None:
        """Send nothing at all, or go on with the next frame."""
        if paused and self._going.is_set():
            pace = self.pace()
            self._played, self._longest_pause = pace.seconds, pace.longest_pause
            self._started = None
            self._going.clear()
        elif not paused:
            self._going.set()

    def pace(self) -> Pace:
        """Pace of this source, apart from the pauses that it was told to make."""
        seconds, longest_pause = self._played, self._longest_pause
        if self._started is not None:
            now = time.monotonic()
            seconds += now - self._started
            longest_pause = max(longest_pause, now - max(self._started, self.sent[-1]))
        return Pace(len(self.sent), seconds, self.per_second, longest_pause)

    async def _turn(self) -> int:
        """Wait until the next frame is due, and return its number."""
        if self.readyState != "live":
            raise MediaStreamError
        if self._started is not None:
            await asyncio.sleep(self._due - time.monotonic())
        await self._going.wait()
        now = time.monotonic()
        if self._started is None:
            self._started = self._due = now
        else:
            self._longest_pause = max(self._longest_pause, now - self.sent[-1])
        self._due += 1 / self.per_second
        self.sent.append(now)
        return len(self.sent) - 1


class AudioSource(Source):
    """The noise of a stream, silent in the samples of `mutes` and while `muted`."""

    kind = "audio"
    per_second = SAMPLE_RATE / FRAME_SAMPLES

    def __init__(self, noise: Noise, mutes: Sequence[Mute] = ()) -> None:
        super().__init__()
        self._noise = noise
        self._mutes = mutes

    async def recv(self) -> av.AudioFrame:
        number = await self._turn()
        frame = av.AudioFrame(format="s16", layout="mono", samples=FRAME_SAMPLES)
        silence = bytes(2 * FRAME_SAMPLES)
        frame.planes[0].update(silence if self.muted else self._noise.frame(number, self._mutes))
        frame.sample_rate = SAMPLE_RATE
        frame.pts = number * FRAME_SAMPLES
        frame.time_base = fractions.Fraction(1, SAMPLE_RATE)
        return frame


class VideoSource(Source):
    """Pictures with the code of a stream, black while `muted`."""

    kind = "video"

    def __init__(self, stream: int, width: int, height: int, per_second: float) -> None:
        super().__init__()
        self.per_second = per_second
        self._stream = stream
        self._width, self._height = width, height

    async def recv(self) -> av.VideoFrame:
        number = await self._turn()
        frame = av.VideoFrame(self._width, self._height, "yuv420p")
        luma = (
            bytes([16]) * (self._width * self._height)
            if self.muted
            else draw_cells(Cells(self._stream, number, int(self.sent[-1] * 1000)), self._width, self._height)
        )
        _fill(frame.planes[0], luma, self._width)
        for plane in frame.planes[1:]:
            plane.update(bytes([128]) * plane.buffer_size)
        frame.pts = int(number * VIDEO_CLOCK / self.per_second)
        frame.time_base = fractions.Fraction(1, VIDEO_CLOCK)
        return frame


class Sink:
    """Everything that arrives on the peer's tracks."""

    def __init__(self, on_first: Callable[[str], None]) -> None:
        """`on_first`: told the kind of media when its first frame arrives."""
        self.audio = AudioRecording()
        self.pictures: list[Picture] = []
        self._on_first = on_first
        self._tasks: set[asyncio.Task[None]] = set()

    def listen(self, track: MediaStreamTrack) -> None:
        """Read a track until it ends."""
        task = asyncio.ensure_future(self._read(track))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self, track: MediaStreamTrack) -> None:
        first = True
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            arrival = time.monotonic()
            if first:
                self._on_first(track.kind)
                first = False
            if isinstance(frame, av.AudioFrame):
                channels = len(frame.layout.channels)
                samples = bytes(frame.planes[0])[: frame.samples * channels * 2]
                self.audio.add(frame.pts or 0, arrival, narrow(samples, channels))
            elif isinstance(frame, av.VideoFrame) and len(self.pictures) < MOST_PICTURES:
                luma = frame.planes[0]
                picture = bytes(luma), frame.width, frame.height, luma.line_size
                self.pictures.append(Picture(arrival, read_cells(*picture), dark=is_dark(*picture)))


class DirectBuffer:
    """Hands each audio packet over as it comes; drops what comes late.

    aiortc's own buffer waits for sixteen packets when one is lost and then drops up to five: it would multiply the
    losses of the path by five.
    """

    capacity = 1

    def __init__(self) -> None:
        self._latest: int | None = None

    def add(self, packet: Any) -> tuple[bool, JitterFrame | None]:
        ahead = 1 if self._latest is None else (packet.sequence_number - self._latest) & 0xFFFF
        if not 0 < ahead < 1 << 15:
            return False, None
        self._latest = packet.sequence_number
        return False, JitterFrame(packet._data, packet.timestamp)


def jitter_buffer(capacity: int, prefetch: int = 0, is_video: bool = False) -> Any:
    """Takes the place of aiortc's `JitterBuffer` in its receivers."""
    return JitterBuffer(capacity, prefetch, is_video) if is_video else DirectBuffer()


def tap(receiver: Any, counters: dict[int, SequenceCounter]) -> None:
    """Count the packets of each SSRC that a receiver is given."""
    handle: Callable[..., Awaitable[None]] = receiver._handle_rtp_packet

    async def counted(packet: Any, arrival_time_ms: int) -> None:
        counters.setdefault(packet.ssrc, SequenceCounter()).add(packet.sequence_number)
        await handle(packet, arrival_time_ms=arrival_time_ms)

    receiver._handle_rtp_packet = counted


def _fill(plane: Any, rows: bytes, width: int) -> None:
    """Copy tight rows into a plane whose rows may be padded."""
    stride = plane.line_size
    if stride == width:
        plane.update(rows)
        return
    padding = bytes(stride - width)
    plane.update(b"".join(rows[at : at + width] + padding for at in range(0, len(rows), width)))
