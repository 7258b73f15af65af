from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from aiortc.mediastreams import MediaStreamError

from harness.calls.agent_program import split_candidates
from harness.calls.media import FRAME_SAMPLES, Noise, read_cells
from harness.calls.tracks import AudioSource, VideoSource, jitter_buffer


def test_sound_goes_on_where_it_was_after_a_pause():
    async def play() -> None:
        source = AudioSource(Noise(1))
        frames = [await source.recv() for _ in range(3)]
        source.pause(True)
        waiting = asyncio.ensure_future(source.recv())
        await asyncio.sleep(0.2)
        assert not waiting.done()
        before = source.pace()
        source.pause(False)
        frames.append(await waiting)
        after = source.pace()
        assert [frame.pts for frame in frames] == [number * FRAME_SAMPLES for number in range(4)]
        assert bytes(frames[3].planes[0])[: 2 * FRAME_SAMPLES] == Noise(1).frame(3)
        assert (before.sent, after.sent) == (3, 4)
        assert after.seconds - before.seconds < 0.2  # the pause does not count
        source.stop()
        with pytest.raises(MediaStreamError):
            await source.recv()

    asyncio.run(play())


@pytest.mark.parametrize(("width", "height"), [(320, 240), (330, 250)])
def test_pictures_say_who_they_are_and_are_black_while_muted(width, height):
    async def play() -> None:
        source = VideoSource(3, width, height, 100.0)
        for number in range(3):
            frame = await source.recv()
            luma = frame.planes[0]
            code = read_cells(bytes(luma), width, height, luma.line_size)
            assert code is not None
            assert (code.stream, code.number) == (3, number)
        source.muted = True
        frame = await source.recv()
        assert set(bytes(frame.planes[0])[:width]) == {16}

    asyncio.run(play())


def test_audio_packets_are_handed_over_at_once_and_late_ones_are_dropped():
    buffer = jitter_buffer(16, prefetch=4)
    handed = [
        buffer.add(SimpleNamespace(sequence_number=number, timestamp=number * 960, _data=b"opus"))[1]
        for number in (65_534, 65_535, 1, 0, 1, 2)
    ]
    assert [frame and frame.timestamp // 960 for frame in handed] == [65_534, 65_535, 1, None, None, 2]
    assert jitter_buffer(512, is_video=True).capacity == 512


def test_candidates_that_are_not_relayed_are_split_off():
    sdp = (
        "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 96\r\na=candidate:1 1 udp 1 10.0.0.1 5 typ host\r\n"
        "a=candidate:2 1 udp 1 127.0.0.1 6 typ relay raddr 0.0.0.0 rport 9\r\na=end-of-candidates\r\n"
        "m=application 9 DTLS/SCTP 5000\r\na=candidate:1 1 udp 1 10.0.0.1 5 typ host\r\n"
    )
    kept, later = split_candidates(sdp)
    assert kept.count("a=candidate") == 1
    assert "typ relay" in kept
    assert [each["sdpMLineIndex"] for each in later] == [0, 1]
    assert later[0]["candidate"] == "candidate:1 1 udp 1 10.0.0.1 5 typ host"
