"""The meters themselves: known faults go in, and exactly these are read."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

import av
import pytest

from harness.calls.media import FRAME_SAMPLES, SAMPLE_RATE, Cells, Mute, Noise, narrow
from harness.calls.quality import (
    AudioFindings,
    AudioRecording,
    MachineTooSlow,
    Pace,
    Picture,
    SequenceCounter,
    judge_audio,
    judge_video,
)

FRAME = FRAME_SAMPLES / SAMPLE_RATE
SECOND = SAMPLE_RATE


@pytest.fixture(scope="module")
def alice() -> Noise:
    return Noise(1)


@pytest.fixture(scope="module")
def bob() -> Noise:
    return Noise(2)


def played(noise: Noise, count: int, *, first: int = 0, mutes: Sequence[Mute] = ()) -> list[bytes]:
    return [noise.frame(number, mutes) for number in range(first, first + count)]


def recorded(frames: Iterable[bytes | None], *, delay: float = 0.0) -> AudioRecording:
    """Frames of one channel arrive every 20 ms; None is a frame that was lost on the way."""
    recording = AudioRecording()
    for number, frame in enumerate(frames):
        if frame is not None:
            recording.add(number * FRAME_SAMPLES, number * FRAME + delay, narrow(frame, 1))
    return recording


def through_opus(frames: Iterable[bytes], bit_rate: int) -> AudioRecording:
    """As aiortc sends and receives them."""
    encoder = av.CodecContext.create("libopus", "w")
    decoder = av.CodecContext.create("libopus", "r")
    for codec in (encoder, decoder):
        codec.format, codec.layout, codec.sample_rate = "s16", "stereo", SAMPLE_RATE
    encoder.bit_rate = bit_rate
    encoder.options = {"application": "voip"}
    resampler = av.AudioResampler(format="s16", layout="stereo", rate=SAMPLE_RATE, frame_size=FRAME_SAMPLES)
    decoded = []
    for samples in frames:
        frame = av.AudioFrame(format="s16", layout="mono", samples=FRAME_SAMPLES)
        frame.sample_rate = SAMPLE_RATE
        frame.planes[0].update(samples)
        for stereo in resampler.resample(frame):
            for packet in encoder.encode(stereo):
                decoded += [bytes(each.planes[0])[: each.samples * 4] for each in decoder.decode(packet)]
    recording = AudioRecording()
    for number, samples in enumerate(decoded):
        recording.add(number * FRAME_SAMPLES, number * FRAME, narrow(samples, 2))
    return recording


def test_undisturbed_sound(alice, bob):
    sent = [number * FRAME for number in range(600)]
    findings = judge_audio(
        recorded(played(alice, 500, first=100), delay=2.050), alice, others=[bob], sent=sent
    )
    assert findings.first == pytest.approx(2.0)
    assert findings.known == 1.0
    assert (findings.gaps, findings.jumps, findings.stalls, findings.others) == ((), (), (), {})
    assert findings.drift == pytest.approx(0, abs=5)
    assert findings.delay == pytest.approx(0.050)
    assert (findings.frames, findings.seconds) == (500, 10.0)


@pytest.mark.parametrize("bit_rate", [96_000, 32_000, 24_000])
@pytest.mark.parametrize("start", [48_000, 50_123])
def test_a_mute_of_500_ms(alice, bit_rate, start):
    recording = through_opus(played(alice, 150, mutes=[Mute(start, start + SECOND // 2)]), bit_rate)
    findings = judge_audio(recording, alice)
    [gap] = (gap for gap in findings.gaps if gap.start > 0.1)
    assert 0.460 <= gap.length <= 0.540
    assert gap.start == pytest.approx(start / SECOND, abs=0.030)
    assert not findings.jumps


@pytest.mark.parametrize("offset", range(6))
def test_no_offset_of_the_sampling_matters(alice, offset):
    wave = array("h", b"".join(played(alice, 100)))[offset:]
    recording = AudioRecording()
    recording.add(0, 0.0, wave[:-6][::6])
    findings = judge_audio(recording, alice)
    assert findings.known == 1.0
    assert findings.first == pytest.approx(offset / SAMPLE_RATE, abs=0.0001)


def test_level_does_not_matter(alice):
    frames = [
        array("h", [sample // 10 for sample in array("h", each)]).tobytes() for each in played(alice, 100)
    ]
    assert judge_audio(recorded(frames), alice).known == 1.0


def test_swapped_streams(alice, bob):
    frames = played(alice, 100) + played(bob, 100, first=100) + played(alice, 100, first=200)
    findings = judge_audio(recorded(frames), alice, others=[bob])
    assert findings.known == pytest.approx(2 / 3, abs=0.01)
    assert findings.others == {2: pytest.approx(1 / 3, abs=0.01)}
    [gap] = findings.gaps
    assert [gap.start, gap.length] == pytest.approx([2.0, 2.0], abs=0.03)
    assert not findings.jumps


def test_another_noise_is_never_taken_for_the_right_one(alice, bob):
    findings = judge_audio(recorded(played(bob, 100)), alice)
    assert (findings.known, findings.first) == (0.0, None)
    assert findings.delay is None


def test_silence_is_a_gap_as_long_as_the_recording(alice):
    findings = judge_audio(recorded([bytes(2 * FRAME_SAMPLES)] * 100), alice)
    [gap] = findings.gaps
    assert gap.length == pytest.approx(2.0, abs=0.02)


def test_nothing_at_all(alice):
    findings = judge_audio(AudioRecording(), alice)
    assert (findings.frames, findings.known, findings.gaps) == (0, 0.0, ())


def test_skipped_content_is_a_jump_without_a_gap(alice):
    findings = judge_audio(recorded(played(alice, 100) + played(alice, 100, first=125)), alice)
    [jump] = findings.jumps
    assert jump.by == pytest.approx(0.500, abs=0.001)
    assert jump.start == pytest.approx(2.0, abs=0.03)
    assert not findings.gaps


def test_repeated_content_is_a_jump_back(alice):
    findings = judge_audio(recorded(played(alice, 100) + played(alice, 100, first=50)), alice)
    [jump] = findings.jumps
    assert jump.by == pytest.approx(-1.0, abs=0.001)


def test_content_in_the_wrong_order_is_not_taken_for_sound(alice):
    frames = played(alice, 200)
    frames[100:110] = reversed(frames[100:110])
    findings = judge_audio(recorded(frames), alice)
    [gap] = findings.gaps
    assert gap.length == pytest.approx(0.200, abs=0.05)


def test_lost_frames_are_a_hole_of_the_time_line(alice):
    frames: list[bytes | None] = list(played(alice, 200))
    frames[100:125] = [None] * 25
    findings = judge_audio(recorded(frames), alice)
    [gap] = findings.gaps
    assert gap.length == pytest.approx(0.500, abs=0.04)
    assert findings.stalls == pytest.approx((0.520,))
    assert not findings.jumps


def test_a_pause_on_the_wall_clock_alone_is_a_stall(alice):
    recording = AudioRecording()
    for number, frame in enumerate(played(alice, 100)):
        recording.add(number * FRAME_SAMPLES, number * FRAME + (0.7 if number >= 50 else 0), narrow(frame, 1))
    findings = judge_audio(recording, alice)
    assert findings.stalls == pytest.approx((0.720,))
    assert (findings.gaps, findings.jumps) == ((), ())


def test_drift_of_the_senders_clock(alice):
    """Every 20 000th sample is missing: the content runs 50 millionths faster than the time line."""
    wave = array("h", b"".join(played(alice, 1500)))
    del wave[::20_000]
    recording = AudioRecording()
    recording.add(0, 0.0, wave[: len(wave) // 6 * 6 : 6])
    findings = judge_audio(recording, alice)
    assert findings.drift == pytest.approx(50, abs=5)
    assert not findings.jumps


def test_frames_that_come_late_are_counted_and_not_heard_twice(alice):
    recording = recorded(played(alice, 10))
    recording.add(3 * FRAME_SAMPLES, 1.0, narrow(alice.frame(3), 1))
    assert (recording.dropped, len(recording.arrivals)) == (1, 10)


INTERVAL = 1 / 15


def seen(numbers: Iterable[int | None], *, stream: int = 1, delay: float = 0.03) -> list[Picture]:
    """Frame `number` was sent at `number * INTERVAL`; pictures arrive at that pace. None is one without a code."""
    return [
        Picture(
            index * INTERVAL + delay,
            None if number is None else Cells(stream, number % 65536, int(number * INTERVAL * 1000)),
        )
        for index, number in enumerate(numbers)
    ]


def faults(pictures: Sequence[Picture], **options) -> dict[str, object]:
    """What is not as it should be."""
    findings = judge_video(pictures, 1, **options)
    names = (
        "unreadable",
        "dark",
        "foreign",
        "duplicates",
        "backward",
        "missing",
        "tail",
        "freezes",
    )
    return {name: value for name in names if (value := getattr(findings, name))}


def test_undisturbed_pictures():
    assert faults(seen(range(100)), last_sent=99, until=100 * INTERVAL) == {}
    assert judge_video(seen(range(30)), 1).delays == pytest.approx([0.03] * 30, abs=0.002)


def test_numbers_go_round():
    assert faults(seen(range(65_500, 65_600)), last_sent=65_599) == {}


def test_a_frozen_picture():
    frozen = [*range(30), *[29] * 8, *range(38, 60)]
    assert faults(seen(frozen)) == {
        "duplicates": 8,
        "missing": 8,
        "freezes": (pytest.approx(9 * INTERVAL),),
    }


def test_duplicated_pictures():
    assert faults(seen([0, 1, 1, 2, 2, 3])) == {"duplicates": 2}


def test_reordered_pictures():
    assert faults(seen([0, 1, 3, 2, 4, 5])) == {"backward": 1}


def test_lost_pictures():
    assert faults(seen([0, 1, 2, 4, 5])) == {"missing": 1}


def test_swapped_pictures():
    pictures = seen(range(10))
    pictures[4:7] = [
        Picture(each.arrival, Cells(2, each.code.number, 0)) for each in pictures[4:7] if each.code
    ]
    assert faults(pictures) == {"foreign": {2: 3}, "missing": 3, "freezes": (pytest.approx(4 * INTERVAL),)}


def test_pictures_without_a_code_and_black_ones_are_told_apart():
    pictures = seen([0, 1, None, None, 4, 5])
    pictures[3] = Picture(pictures[3].arrival, None, dark=True)
    found = faults(pictures)
    assert (found["unreadable"], found["dark"], found["missing"]) == (1, 1, 2)


def test_a_stream_that_dies_has_a_tail():
    found = faults(seen(range(30)), last_sent=59, until=60 * INTERVAL)
    assert found == {"tail": 30, "freezes": (pytest.approx(31 * INTERVAL, abs=0.05),)}


def test_no_picture_at_all():
    assert judge_video([], 1, last_sent=10).frames == 0


def test_sequence_numbers():
    counter = SequenceCounter()
    for number in [65_534, 65_535, 1, 0, 1, 4, 5]:
        counter.add(number)
    assert (counter.received, counter.lost, counter.duplicates, counter.reordered) == (6, 2, 1, 1)


def test_sequence_numbers_of_a_long_call():
    counter = SequenceCounter()
    for number in range(300_000):
        if number % 1000:
            counter.add(number % 65_536)
    assert (counter.lost, counter.duplicates) == (299, 0)


def test_a_starved_sender_is_an_error_and_no_verdict():
    Pace(sent=96, seconds=2.0, per_second=50, longest_pause=0.2).check("audio")
    with pytest.raises(MachineTooSlow, match=r"machine too slow \(audio: sent 31 of 50 per second\)"):
        Pace(62, 2.0, 50, 0.1).check("audio")
    with pytest.raises(MachineTooSlow, match=r"machine too slow \(audio: sent nothing for 700 ms\)"):
        Pace(100, 2.0, 50, 0.7).check("audio")


def test_findings_are_plain_data(alice):
    findings = judge_audio(recorded(played(alice, 50)), alice)
    assert isinstance(findings, AudioFindings)
    assert "delays" not in repr(findings)
