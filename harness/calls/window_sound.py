"""Sound of a call window, kept encoded as it arrived, and made a recording.

Behind libwebrtc's jitter buffer, a machine that is late would sound like a way that loses.
"""

from __future__ import annotations

from collections.abc import Iterable

import av
from av.error import FFmpegError

from .media import SAMPLE_RATE, narrow
from .quality import AudioRecording

__all__ = ["decoded"]

STAMPS = 1 << 32
"""Number of RTP time stamps (RFC 3550, section 5.1)."""


def decoded(packets: Iterable[tuple[float, int, bytes]]) -> AudioRecording:
    """Record packets of Opus: arrival (seconds of any clock), RTP time stamp, payload. What cannot be read is a gap."""
    recording = AudioRecording()
    decoder = av.CodecContext.create("libopus", "r")
    decoder.format, decoder.layout, decoder.sample_rate = "s16", "stereo", SAMPLE_RATE
    first: int | None = None
    for arrival, timestamp, payload in packets:
        first = timestamp if first is None else first
        since = (timestamp - first + STAMPS // 2) % STAMPS - STAMPS // 2
        try:
            frames = decoder.decode(av.Packet(payload))
        except FFmpegError:
            continue
        for frame in frames:
            channels = len(frame.layout.channels)
            samples = bytes(frame.planes[0])[: frame.samples * channels * 2]
            recording.add(since, arrival, narrow(samples, channels))
            since += frame.samples
    return recording
