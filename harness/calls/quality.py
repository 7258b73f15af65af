"""Judges what arrived in a call, by its content. Pure: recordings go in, findings come out.

Four things are judged apart, because none of them implies another: silence or unknown content on the media time
line (gaps), skipped or repeated content (jumps), pauses on the wall clock (stalls), and packets that are missing
(holes in RTP sequence numbers).
"""

from __future__ import annotations

import statistics
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise

from .media import FRAME_SAMPLES, HOP, HOP_SAMPLES, NARROW_RATE, PERIOD, SAMPLE_RATE, Cells, Noise, audible

__all__ = [
    "LONGEST_PAUSE",
    "AudioFindings",
    "AudioRecording",
    "Gap",
    "Jump",
    "MachineTooSlow",
    "Pace",
    "Picture",
    "SequenceCounter",
    "VideoFindings",
    "judge_audio",
    "judge_video",
]

SHORTEST_GAP = 0.040
"""Seconds; shorter ones are single packets, which sequence numbers count better."""
SHORTEST_ISLAND = 0.025
"""Seconds of sound that do not end a gap: concealment repeats the last waveform."""
STABLE = 0.060
"""Seconds for which a new place must hold before it is believed."""
SHORTEST_JUMP = 0.020
AUDIO_STALL = 0.100
"""Seconds from one audio frame's arrival to the next that are reported."""
VIDEO_FREEZE = 0.150
"""Seconds from one new picture to the next that are reported."""
LONGEST_RECORDING = 900
"""Seconds of audio that are kept."""
NUMBERS = 1 << 16
SLOWEST_PACE = 0.9
"""Part of its frames that a sender must have sent for its call to be judged."""
LONGEST_PAUSE = 0.250
"""Seconds without a frame at the sender, above which pauses at the receiver say nothing about the way there."""


class MachineTooSlow(Exception):
    """The sender did not keep its pace: what arrived says nothing about the way there."""


@dataclass(frozen=True)
class Pace:
    """Pace of a sender: frames that it sent in `seconds`, and its longest pause."""

    sent: int
    seconds: float
    per_second: float
    longest_pause: float

    def check(self, what: str, longest_pause: float = LONGEST_PAUSE) -> None:
        """Raise `MachineTooSlow` if fewer than nine tenths of the frames were sent, or none for too long (seconds)."""
        if self.sent < SLOWEST_PACE * self.per_second * self.seconds:
            rate = self.sent / self.seconds
            raise MachineTooSlow(
                f"machine too slow ({what}: sent {rate:.0f} of {self.per_second:.0f} per second)"
            )
        if self.longest_pause > longest_pause:
            raise MachineTooSlow(
                f"machine too slow ({what}: sent nothing for {self.longest_pause * 1000:.0f} ms)"
            )


@dataclass(frozen=True)
class Gap:
    """No known sound for `length` seconds, from `start` seconds after the first sample."""

    start: float
    length: float


@dataclass(frozen=True)
class Jump:
    """At `start` the content goes on `by` seconds later in the noise than it should (negative: repeated)."""

    start: float
    by: float


class AudioRecording:
    """Samples of one audio track on the media time line: holes of the time stamps are silent."""

    def __init__(self) -> None:
        self.heard: array[int] = array("h")
        """Samples at 8 kHz."""
        self.arrivals: list[tuple[float, float]] = []
        """For each frame: when it arrived (seconds of any clock), and where it begins (seconds, media time)."""
        self.dropped = 0
        """Frames beyond `LONGEST_RECORDING`, or before what was heard already."""
        self._first: int | None = None

    def add(self, timestamp: int, arrival: float, samples: array[int]) -> None:
        """A frame: its RTP time stamp (48 kHz), and its samples at 8 kHz."""
        if self._first is None:
            self._first = timestamp
        at = (timestamp - self._first) * NARROW_RATE // SAMPLE_RATE
        if at < len(self.heard) or at > LONGEST_RECORDING * NARROW_RATE:
            self.dropped += 1
            return
        self.heard.extend(array("h", bytes(2 * (at - len(self.heard)))))
        self.heard.extend(samples)
        self.arrivals.append((arrival, at / NARROW_RATE))

    @property
    def seconds(self) -> float:
        return len(self.heard) / NARROW_RATE


@dataclass(frozen=True)
class AudioFindings:
    """Findings about the sound of a stream. Times are seconds."""

    stream: int
    seconds: float
    frames: int
    known: float
    """Part of the time in which the right stream was heard, 0 to 1."""
    gaps: tuple[Gap, ...]
    jumps: tuple[Jump, ...]
    stalls: tuple[float, ...]
    """Pauses on the wall clock, each longer than `AUDIO_STALL`."""
    others: dict[int, float]
    """Other streams that were heard instead, with the part of the time of each."""
    first: float | None
    """The place in the noise that was heard first, seconds, modulo `PERIOD`."""
    drift: float
    """Rate by which the sender's clock is faster than the receiver's, in millionths."""
    delays: tuple[float, ...] = field(repr=False, default=())
    """Arrival minus sending of each frame that was recognised, where the sending is known."""

    @property
    def delay(self) -> float | None:
        """The usual delay."""
        return statistics.median(self.delays) if self.delays else None


def judge_audio(
    recording: AudioRecording,
    noise: Noise,
    *,
    others: Sequence[Noise] = (),
    sent: Sequence[float] = (),
) -> AudioFindings:
    """Compare what was heard with the noise of the stream that should be heard.

    `others`: noises that must not be heard here. `sent`: when each frame was sent, on the clock of the arrivals.
    """
    places = believed(noise.locate(recording.heard))
    known = [place is not None for place in places]
    looks = max(len(places), 1)
    return AudioFindings(
        stream=noise.stream,
        seconds=recording.seconds,
        frames=len(recording.arrivals),
        known=sum(known) / looks,
        gaps=tuple(find_gaps(known)),
        jumps=tuple(find_jumps(places)),
        stalls=tuple(_pauses((arrival for arrival, _ in recording.arrivals), AUDIO_STALL)),
        others=_others(recording, known, others),
        first=next((place for place in places if place is not None), None),
        drift=_drift(places),
        delays=tuple(_delays(recording, places, sent)),
    )


def believed(places: Sequence[float | None]) -> list[float | None]:
    """The places without those that hold for a moment only: chance, and the echo of concealment."""
    kept: list[float | None] = [None] * len(places)
    trusted: float | None = None
    candidate: float | None = None
    since = 0
    for index, place in enumerate(places):
        if place is None:
            continue
        if trusted is not None and abs(_difference(place, trusted)) < SHORTEST_JUMP / 4:
            kept[index] = trusted = place
            candidate = None
            continue
        if candidate is None or abs(_difference(place, candidate)) > SHORTEST_JUMP / 4:
            since = index
        candidate = place
        if (index - since + 1) * HOP >= STABLE:
            kept[since : index + 1] = places[since : index + 1]
            trusted, candidate = place, None
    return kept


def find_gaps(known: Sequence[bool]) -> list[Gap]:
    """Stretches without known sound; short islands of sound inside do not count."""
    gaps: list[Gap] = []
    for is_known, start, length in _runs(_without_islands(known)):
        if not is_known and length * HOP >= SHORTEST_GAP:
            gaps.append(Gap(start * HOP, length * HOP))
    return gaps


def find_jumps(places: Sequence[float | None]) -> list[Jump]:
    """Find the places where the content goes on elsewhere than it stopped."""
    seen = [(index, place) for index, place in enumerate(places) if place is not None]
    jumps = []
    for (_, before), (index, after) in pairwise(seen):
        if abs(by := _difference(after, before)) > SHORTEST_JUMP:
            jumps.append(Jump(index * HOP, by))
    return jumps


@dataclass(frozen=True)
class Picture:
    """A video frame as it arrived (seconds of any clock): its code if that was whole; whether it was all black."""

    arrival: float
    code: Cells | None
    dark: bool = False


@dataclass(frozen=True)
class VideoFindings:
    """Findings about the pictures of a stream. Times are seconds."""

    stream: int
    frames: int
    unreadable: int
    dark: int
    foreign: dict[int, int]
    """Pictures of other streams, by stream."""
    duplicates: int
    backward: int
    """Pictures that came after a later one."""
    missing: int
    """Frames between the first and the last one that were never seen."""
    tail: int
    """Frames that were sent after the last one that was seen."""
    freezes: tuple[float, ...]
    """Times without a new picture, each longer than `VIDEO_FREEZE`."""
    delays: tuple[float, ...] = field(repr=False, default=())
    """Arrival minus the time in the code: meaningful where both come from one clock."""


def judge_video(
    pictures: Sequence[Picture], stream: int, *, last_sent: int | None = None, until: float | None = None
) -> VideoFindings:
    """Judge pictures of a stream in the order of their arrival.

    `last_sent`: number of the last frame that was sent; `until`: when watching ended, so that a stream which died
    shows as a freeze.
    """
    ours = [each for each in pictures if each.code is not None and each.code.stream == stream]
    foreign: dict[int, int] = {}
    for each in pictures:
        if each.code is not None and each.code.stream != stream:
            foreign[each.code.stream] = foreign.get(each.code.stream, 0) + 1
    latest: int | None = None
    new: list[Picture] = []
    numbers: set[int] = set()
    duplicates = backward = 0
    for picture in ours:
        assert picture.code is not None
        number = _unwrap(picture.code.number, latest)
        if number == latest:
            duplicates += 1
        elif latest is not None and number < latest:
            backward += 1
        else:
            latest = number
            new.append(picture)
        numbers.add(number)
    arrivals = [each.arrival for each in new] + ([until] if until is not None else [])
    return VideoFindings(
        stream=stream,
        frames=len(pictures),
        unreadable=sum(each.code is None and not each.dark for each in pictures),
        dark=sum(each.dark for each in pictures),
        foreign=foreign,
        duplicates=duplicates,
        backward=backward,
        missing=max(numbers) - min(numbers) + 1 - len(numbers) if numbers else 0,
        tail=0 if latest is None or last_sent is None else max(0, last_sent - latest),
        freezes=tuple(_pauses(arrivals, VIDEO_FREEZE)),
        delays=tuple(_picture_delay(each) for each in new),
    )


class SequenceCounter:
    """Counts the packets of one RTP stream by their sequence numbers (RFC 3550, A.1)."""

    def __init__(self) -> None:
        self.received = 0
        self.duplicates = 0
        self.reordered = 0
        self._first: int | None = None
        self._highest: int | None = None
        self._recent: set[int] = set()

    def add(self, sequence_number: int) -> None:
        """A packet with these sixteen bits arrived."""
        number = _unwrap(sequence_number, self._highest)
        if number in self._recent:
            self.duplicates += 1
            return
        self.received += 1
        self._recent.add(number)
        if self._highest is not None and number < self._highest:
            self.reordered += 1
        self._first = number if self._first is None else min(self._first, number)
        self._highest = number if self._highest is None else max(self._highest, number)
        if len(self._recent) > 2 * NUMBERS // 16:
            self._recent = {each for each in self._recent if each > self._highest - NUMBERS // 16}

    @property
    def lost(self) -> int:
        """Packets between the lowest and the highest number that never came."""
        if self._first is None or self._highest is None:
            return 0
        return self._highest - self._first + 1 - self.received


def _unwrap(number: int, latest: int | None) -> int:
    """The number without its sixteen bit limit: of all that end like this, the one next to the latest."""
    if latest is None:
        return number
    return latest + (number - latest + NUMBERS // 2) % NUMBERS - NUMBERS // 2


def _difference(after: float, before: float) -> float:
    """The shorter way round the period."""
    return (after - before + PERIOD / 2) % PERIOD - PERIOD / 2


def _runs(values: Sequence[bool]) -> list[tuple[bool, int, int]]:
    """Value, start and length of each stretch of equal values."""
    runs = []
    start = 0
    for value, group in groupby(values):
        length = len(list(group))
        runs.append((value, start, length))
        start += length
    return runs


def _without_islands(known: Sequence[bool]) -> list[bool]:
    kept = list(known)
    for is_known, start, length in _runs(known):
        inside = start > 0 and start + length < len(known)
        if is_known and inside and length * HOP < SHORTEST_ISLAND:
            kept[start : start + length] = [False] * length
    return kept


def _pauses(arrivals: Iterable[float], limit: float) -> list[float]:
    return [after - before for before, after in pairwise(arrivals) if after - before > limit]


def _others(recording: AudioRecording, known: Sequence[bool], others: Sequence[Noise]) -> dict[int, float]:
    """Other streams, looked for only where something unknown sounds."""
    unknown = [loud and not is_known for loud, is_known in zip(audible(recording.heard), known, strict=True)]
    if not any(length * HOP >= STABLE for is_unknown, _, length in _runs(unknown) if is_unknown):
        return {}
    heard = array("h", recording.heard)
    for index, is_known in enumerate(known):
        if is_known:
            heard[index * HOP_SAMPLES : (index + 1) * HOP_SAMPLES] = array("h", bytes(2 * HOP_SAMPLES))
    found = {}
    for noise in others:
        places = believed(noise.locate(heard))
        if part := sum(place is not None for place in places) / len(places):
            found[noise.stream] = part
    return found


def _drift(places: Sequence[float | None]) -> float:
    """Millionths, from the way that the place moves between jumps: the slope of a straight line."""
    seen = [(index * HOP, place) for index, place in enumerate(places) if place is not None]
    if len(seen) < 2:
        return 0.0
    moved = [0.0]
    for (_, before), (_, after) in pairwise(seen):
        by = _difference(after, before)
        moved.append(moved[-1] + (by if abs(by) <= SHORTEST_JUMP else 0.0))
    return statistics.linear_regression([at for at, _ in seen], moved).slope * 1e6


def _delays(
    recording: AudioRecording, places: Sequence[float | None], sent: Sequence[float]
) -> Iterable[float]:
    """For each frame: where in the noise it begins says which frame was sent, and that says when."""
    for arrival, at in recording.arrivals:
        place = places[index] if (index := round(at / HOP)) < len(places) else None
        if place is None:
            continue
        since_sent = [arrival - each for each in _times_of((place + at) % PERIOD, sent) if each <= arrival]
        yield from since_sent[-1:]


def _times_of(place: float, sent: Sequence[float]) -> Iterable[float]:
    """Times at which this place of the noise was sent, one for each time that it was."""
    frame = FRAME_SAMPLES / SAMPLE_RATE
    while (number := int(place / frame)) < len(sent):
        yield sent[number] + place - number * frame
        place += PERIOD


def _picture_delay(picture: Picture) -> float:
    assert picture.code is not None
    return (int(picture.arrival * 1000) - picture.code.milliseconds) % (1 << 24) / 1000
