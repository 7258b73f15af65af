"""Statistics of an RTCPeerConnection of libwebrtc (W3C webrtc-stats), as those of every peer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["plain_stats", "rtp_counts"]

AUDIO_PER_SECOND = 50
"""Packets of Opus, 20 ms each."""
COUNTS = ("packetsSent", "bytesSent", "packetsReceived", "bytesReceived")


def plain_stats(found: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to `stats` (see `process`) of what the page says."""
    entries = {each["id"]: each for each in found["entries"]}
    transports = [each for each in entries.values() if each["type"] == "transport"]
    pace = {"audio": _pace(_sent_audio(entries), found["seconds"], AUDIO_PER_SECOND, found["silent"])}
    sent = _pictures(entries, "outbound-rtp", "framesSent")
    if settings["video"]:
        pace["video"] = _pace(sent, found["seconds"], settings["video"][2], found["longest"])
    received = found["received"]
    return {
        "transport": {name: sum(each.get(name, 0) for each in transports) for name in COUNTS},
        "pair": next(
            (_pair(each, entries) for each in transports if each.get("selectedCandidatePairId")), None
        ),
        "ice": found["ice"],
        "connection": found["connection"],
        "pace": pace,
        "pictures_not_sent": max(0, found["filmed"] - sent),
        "pictures_dropped": _pictures(entries, "inbound-rtp", "framesDropped"),
        "stood_still": found["still"],
        "numbers_sent": found["sent"],
        "numbers_received": len(set(received)),
        "numbers_in_order": received == sorted(set(received)),
    }


def rtp_counts(found: Mapping[str, Any]) -> dict[str, int]:
    """RTP packets of all streams. libwebrtc counts repeated ones against those lost."""
    inbound = [each for each in found["entries"] if each["type"] == "inbound-rtp"]
    return {
        "received": sum(each.get("packetsReceived", 0) for each in inbound),
        "lost": sum(max(0, each.get("packetsLost", 0)) for each in inbound),
        "duplicates": 0,
        "reordered": 0,
    }


def _pace(sent: int, seconds: float, per_second: float, longest_pause: float) -> dict[str, Any]:
    return {"sent": sent, "seconds": seconds, "per_second": per_second, "longest_pause": longest_pause}


def _pictures(entries: Mapping[str, Mapping[str, Any]], streams: str, what: str) -> int:
    video = (each for each in entries.values() if each["type"] == streams and each.get("kind") == "video")
    return sum(each.get(what, 0) for each in video)


def _sent_audio(entries: Mapping[str, Mapping[str, Any]]) -> int:
    outbound = (
        each for each in entries.values() if each["type"] == "outbound-rtp" and each["kind"] == "audio"
    )
    return sum(each.get("packetsSent", 0) for each in outbound)


def _pair(transport: Mapping[str, Any], entries: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    pair = entries.get(transport["selectedCandidatePairId"])
    if pair is None:
        return None
    local, remote = entries[pair["localCandidateId"]], entries[pair["remoteCandidateId"]]
    return {
        "local": local["candidateType"],
        "local_address": [local.get("address") or "", local["port"]],
        "remote": remote["candidateType"],
        "remote_address": [remote.get("address") or "", remote["port"]],
    }
