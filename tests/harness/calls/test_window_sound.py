"""Sound that a call window kept encoded: what is lost is a gap, what is late is none."""

from __future__ import annotations

import fractions

import av
import pytest

from harness.calls.media import FRAME_SAMPLES, SAMPLE_RATE, Noise
from harness.calls.quality import judge_audio
from harness.calls.window_sound import decoded

PACKETS = 100
"""Of 20 ms each."""
FIRST = (1 << 32) - 10 * FRAME_SAMPLES
"""RTP time stamp of the first, so that they wrap."""


@pytest.fixture(scope="module")
def sound() -> list[tuple[float, int, bytes]]:
    """Two seconds of stream 1: time of arrival, time stamp, payload."""
    encoder = av.CodecContext.create("libopus", "w")
    encoder.format, encoder.layout, encoder.sample_rate = "s16", "mono", SAMPLE_RATE
    encoder.bit_rate, encoder.time_base = 32_000, fractions.Fraction(1, SAMPLE_RATE)
    noise, packets = Noise(1), []
    for number in range(PACKETS):
        frame = av.AudioFrame(format="s16", layout="mono", samples=FRAME_SAMPLES)
        frame.sample_rate, frame.pts = SAMPLE_RATE, number * FRAME_SAMPLES
        frame.planes[0].update(noise.frame(number))
        packets += [bytes(each) for each in encoder.encode(frame)]
    return [
        (number / 50, (FIRST + number * FRAME_SAMPLES) % (1 << 32), packet)
        for number, packet in enumerate(packets)
    ]


def test_everything_is_heard_also_when_time_stamps_wrap(sound):
    found = judge_audio(decoded(sound), Noise(1))
    assert found.seconds == pytest.approx(PACKETS / 50)
    assert not found.gaps and not found.jumps
    assert found.known > 0.95


def test_what_is_lost_is_a_gap(sound):
    found = judge_audio(decoded(sound[:40] + sound[50:]), Noise(1))
    [gap] = found.gaps
    assert gap.start == pytest.approx(0.8, abs=0.03)
    assert gap.length == pytest.approx(0.2, abs=0.03)


def test_what_comes_late_is_a_stall_and_no_gap(sound):
    late = [(arrival + (0.5 if number >= 50 else 0), *rest) for number, (arrival, *rest) in enumerate(sound)]
    found = judge_audio(decoded(late), Noise(1))
    assert not found.gaps and not found.jumps
    assert found.stalls == pytest.approx((0.52,))


def test_what_is_no_opus_is_a_gap_and_ends_nothing(sound):
    wrong = [
        (arrival, stamp, b"\xff" * 3 if 40 <= number < 50 else packet)
        for number, (arrival, stamp, packet) in enumerate(sound)
    ]
    found = judge_audio(decoded(wrong), Noise(1))
    assert found.seconds == pytest.approx(PACKETS / 50)
    assert len(found.gaps) == 1


def test_nothing_is_a_recording_without_sound():
    assert decoded([]).seconds == 0
