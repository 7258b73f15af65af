"""Sound and pictures of test calls, in which a receiver can read what it got and when it was sent.

Sound is a noise that repeats after 8.192 s, another one for each stream. The receiver looks where in the noise each
piece of what it hears comes from. It compares signs only (a polarity coincidence correlator), so level does not
matter. Pictures carry 8 x 8 black and white cells.
"""

from __future__ import annotations

import binascii
import functools
import random
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = [
    "FRAME_SAMPLES",
    "HOP",
    "HOP_SAMPLES",
    "NARROW_RATE",
    "PERIOD",
    "SAMPLE_RATE",
    "Cells",
    "Mute",
    "Noise",
    "audible",
    "draw_cells",
    "is_dark",
    "narrow",
    "read_cells",
]

SAMPLE_RATE = 48_000
"""Hz, of everything that is played."""
FRAME_SAMPLES = 960
"""20 ms, as Opus sends them."""
NARROW_RATE = 8_000
"""Hz. The noise is made at this rate, so it has nothing above 4 kHz and every sixth sample says everything."""
DECIMATION = SAMPLE_RATE // NARROW_RATE
PERIOD_SAMPLES = 65_536
PERIOD = PERIOD_SAMPLES / NARROW_RATE
"""Seconds after which the noise repeats."""
PERIOD_PLAYED = PERIOD_SAMPLES * DECIMATION
LOUDNESS = 4_000
"""The largest sample before filtering, of 32767: loud, and far from clipping."""

HOP = 0.005
"""Seconds between two looks at what was heard."""
HOP_SAMPLES = int(HOP * NARROW_RATE)
WINDOW_SAMPLES = 160
"""20 ms: what is compared at each look."""
POSITIONS = 2 * PERIOD_SAMPLES
"""Steps of 1/16 ms in which a place in the noise is known."""
STEPS_PER_SECOND = 2 * NARROW_RATE
STEPS_PER_HOP = int(HOP * STEPS_PER_SECOND)
TRACKED = int(0.70 * WINDOW_SAMPLES)
"""Equal signs of 160 at the place where the noise is expected: noise in nearly half of the window is enough."""
FOUND = int(0.78 * WINDOW_SAMPLES)
"""Equal signs of 160 to find it anywhere: by chance in fewer than one of 10^5 searches."""
SEARCH_EVERY = 4
"""Looks from one search of the whole noise to the next."""
QUIET = 0.08
"""Part of the usual level below which there is nothing to compare."""


@dataclass(frozen=True)
class Mute:
    """Silence in what is played: samples from `start` up to `end`, counted from the first one."""

    start: int
    end: int


class Noise:
    """The sound of one stream (0 to 255)."""

    def __init__(self, stream: int) -> None:
        self.stream = stream
        source = random.Random(stream)  # noqa: S311 - everyone must make the same noise
        samples = array("h", (source.randint(-LOUDNESS, LOUDNESS) for _ in range(PERIOD_SAMPLES)))
        self._played = _at_48_khz(samples)

    def frame(self, number: int, mutes: Sequence[Mute] = ()) -> bytes:
        """The 960 samples of one frame (s16, mono); frame 0 begins with the noise."""
        first = number * FRAME_SAMPLES
        at = first % PERIOD_PLAYED
        samples = self._played[at : at + FRAME_SAMPLES]
        samples += self._played[: FRAME_SAMPLES - len(samples)]
        for mute in mutes:
            start, end = (min(max(each - first, 0), FRAME_SAMPLES) for each in (mute.start, mute.end))
            samples[start:end] = array("h", bytes(2 * (end - start)))
        return samples.tobytes()

    def locate(self, heard: Sequence[int]) -> list[float | None]:
        """Find the origin of each piece of 5 ms: seconds into the noise, minus seconds into what was heard.

        `heard` is narrow (see `narrow`). None: silence, or something else than this noise. The difference is
        modulo `PERIOD`; it stays the same as long as nothing is skipped or repeated.
        """
        signs = _signs(heard)
        loud = audible(heard)
        places: list[float | None] = []
        step: int | None = None
        for hop, is_loud in enumerate(loud):
            found = None
            if is_loud:
                window = int(signs[hop * HOP_SAMPLES : hop * HOP_SAMPLES + WINDOW_SAMPLES], 2)
                if step is not None:
                    found = self._track(window, step + hop * STEPS_PER_HOP)
                if found is None and hop % SEARCH_EVERY == 0:
                    found = self._search(window)
            if found is not None:
                step = (found - hop * STEPS_PER_HOP) % POSITIONS
            places.append(None if found is None or step is None else step / STEPS_PER_SECOND)
        return places

    def _track(self, window: int, expected: int) -> int | None:
        """The place beside the expected one that fits best, if one fits."""
        near = [each % POSITIONS for each in (expected, expected - 1, expected + 1)]
        best = min(near, key=lambda each: (self._windows[each] ^ window).bit_count())
        return best if (self._windows[best] ^ window).bit_count() <= WINDOW_SAMPLES - TRACKED else None

    def _search(self, window: int) -> int | None:
        different: Callable[[int], int] = window.__xor__
        counts = list(map(int.bit_count, map(different, self._windows)))
        fewest = min(counts)
        return counts.index(fewest) if fewest <= WINDOW_SAMPLES - FOUND else None

    @functools.cached_property
    def _windows(self) -> list[int]:
        """The signs of each stretch of 20 ms of the noise, as a number of 160 bits, in steps of 1/16 ms."""
        windows = [0] * POSITIONS
        for phase in (0, 1):
            signs = _signs(self._played[phase * DECIMATION // 2 :: DECIMATION])
            signs += signs[:WINDOW_SAMPLES]
            windows[phase::2] = [int(signs[at : at + WINDOW_SAMPLES], 2) for at in range(PERIOD_SAMPLES)]
        return windows


def _at_48_khz(period: array[int]) -> array[int]:
    """One period of noise, six times as many samples. aiortc brings PyAV; nothing else here needs more than Python."""
    import av  # noqa: PLC0415 - so that the judges can be imported where calls cannot be made

    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    played = array("h")
    for _ in range(3):  # what the filter remembers from one period makes the next one seamless
        frame = av.AudioFrame(format="s16", layout="mono", samples=PERIOD_SAMPLES)
        frame.sample_rate = NARROW_RATE
        frame.planes[0].update(period.tobytes())
        for each in resampler.resample(frame):
            played.frombytes(bytes(each.planes[0])[: each.samples * 2])
    return played[PERIOD_PLAYED : 2 * PERIOD_PLAYED]


def narrow(samples: bytes, channels: int) -> array[int]:
    """The first channel of interleaved s16 samples at 48 kHz, at 8 kHz. Their number must be a multiple of six."""
    return array("h", samples)[:: channels * DECIMATION]


def audible(heard: Sequence[int]) -> list[bool]:
    """For each look whether there is sound, compared with the usual level of all that is not silent."""
    levels = [
        sum(map(abs, heard[at : at + WINDOW_SAMPLES]))
        for at in range(0, len(heard) - WINDOW_SAMPLES + 1, HOP_SAMPLES)
    ]
    sounding = sorted(level for level in levels if level > WINDOW_SAMPLES)
    usual = sounding[len(sounding) // 2] if sounding else 0
    return [level > max(usual * QUIET, WINDOW_SAMPLES) for level in levels]


def _signs(samples: Sequence[int]) -> str:
    return "".join(["1" if sample > 0 else "0" for sample in samples])


CELLS = 8
BORDER = 0.05
"""Part of width and height on each side that stays grey."""
BLACK, GREY, WHITE = 16, 128, 235
CONTRAST = 40
"""Luma between the darkest and the brightest cell, below which there is no code."""
CRC_START = 0xFFFF
"""Not 0: an all black picture must not be a valid code."""


@dataclass(frozen=True)
class Cells:
    """Content of one picture: stream (8 bits), number of the frame (16) and time in milliseconds (24)."""

    stream: int
    number: int
    milliseconds: int

    def encode(self) -> bytes:
        payload = (
            self.stream.to_bytes(1, "big")
            + (self.number & 0xFFFF).to_bytes(2, "big")
            + (self.milliseconds & 0xFFFFFF).to_bytes(3, "big")
        )
        return payload + binascii.crc_hqx(payload, CRC_START).to_bytes(2, "big")

    @classmethod
    def decode(cls, code: bytes) -> Cells | None:
        """None if the checksum is wrong."""
        if binascii.crc_hqx(code[:6], CRC_START) != int.from_bytes(code[6:], "big"):
            return None
        return cls(code[0], int.from_bytes(code[1:3], "big"), int.from_bytes(code[3:6], "big"))


def draw_cells(code: Cells, width: int, height: int) -> bytes:
    """The luma plane of a picture with this code, `width` bytes a row."""
    columns, rows = _edges(width), _edges(height)
    left, right = bytes([GREY]) * columns[0], bytes([GREY]) * (width - columns[-1])
    widths = [end - start for start, end in pairwise(columns)]
    picture = [bytes([GREY]) * width * rows[0]]
    for row, byte in enumerate(code.encode()):
        cells = (
            bytes([WHITE if byte >> (CELLS - 1 - column) & 1 else BLACK]) * wide
            for column, wide in enumerate(widths)
        )
        picture.append((left + b"".join(cells) + right) * (rows[row + 1] - rows[row]))
    picture.append(bytes([GREY]) * width * (height - rows[-1]))
    return b"".join(picture)


def read_cells(luma: bytes, width: int, height: int, stride: int) -> Cells | None:
    """The code of a picture; None if it has none that is whole. `stride`: bytes from one row to the next."""
    levels = _cell_levels(luma, width, height, stride)
    darkest, brightest = min(levels), max(levels)
    if brightest - darkest < CONTRAST:
        return None
    bits = "".join("1" if level > (darkest + brightest) / 2 else "0" for level in levels)
    return Cells.decode(int(bits, 2).to_bytes(CELLS, "big"))


def is_dark(luma: bytes, width: int, height: int, stride: int) -> bool:
    """True if a picture is black all over, as muted video is."""
    return max(_cell_levels(luma, width, height, stride)) < BLACK + CONTRAST


def _cell_levels(luma: bytes, width: int, height: int, stride: int) -> list[float]:
    """The mean luma in the middle of each cell, row by row."""
    columns, rows = _edges(width), _edges(height)
    levels = []
    for top, bottom in pairwise(rows):
        lines = [top + (bottom - top) * part // 8 for part in (3, 4, 5)]
        for left, right in pairwise(columns):
            start, end = left + (right - left) // 4, right - (right - left) // 4
            total = sum(sum(luma[line * stride + start : line * stride + end]) for line in lines)
            levels.append(total / (len(lines) * (end - start)))
    return levels


def _edges(size: int) -> list[int]:
    """Positions at which cells begin along one side, and the end of the last one."""
    return [round(size * (BORDER + (1 - 2 * BORDER) * index / CELLS)) for index in range(CELLS + 1)]
