"""`benchmarks.relay_load`: pings are answered and are no packets, and what does not arrive is told in a sentence."""

from __future__ import annotations

import socket
import subprocess
import threading

import pytest

from benchmarks import relay, relay_load
from benchmarks.relay_load import CASES, Case, generate
from reference_server.iroh_relay.framing import frame_spans
from reference_server.iroh_relay.limits import RelayLimits
from tests.reference_server.iroh_relay.serving import serve

OFTEN = RelayLimits(ping_interval=0.001, ping_jitter=0.001)
"""Who only receives is pinged all the time; by default after 15 seconds, which a long run has."""


@pytest.mark.parametrize(
    "case",
    [
        Case("frames", senders=2, peers=2),
        Case("messages", senders=2, peers=2, websocket=True),
        Case("single", senders=2, single=True),
    ],
    ids=lambda case: case.name,
)
def test_pings_among_the_packets_are_answered(case: Case) -> None:
    with serve(limits=OFTEN) as (port, ledger):
        generate(case, port, 4000, None)
        snapshot = ledger.snapshot()
    connections = snapshot["connections"]
    assert sum(pair["frames"] for pair in snapshot["pairs"]) == 4000
    pongs = len(connections)  # of the log-ins
    assert sum(each["frames_out"] for each in connections) > 4000 + pongs, "nobody was pinged"


def test_packets_that_do_not_arrive_are_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def all_but_the_last(_source: bytes, _destination: bytes, run: bytes) -> bytes:
        spans = list(frame_spans(run))
        return run[: spans[-1][0]] if len(spans) > 1 else run

    monkeypatch.setattr(relay_load, "SILENCE", 0.5)
    with serve(delivery=all_but_the_last) as (port, _), pytest.raises(SystemExit) as ended:
        generate(Case("two", senders=2), port, 800, None)
    words = str(ended.value).split(" packets did not arrive in 0.5 s after the last one: of ")
    assert words[0].endswith(" of 800") and words[1] in ("1 of 2 senders", "2 of 2 senders")
    assert 0 < int(words[0].split()[0]) < 800


def test_a_fault_of_a_relay_ends_the_command_with_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, subprocess.Popen(["sleep", "100"]) as process:
        closing = threading.Thread(target=lambda: listener.accept()[0].close())  # noqa: PLW0108  # waits there
        closing.start()
        port = listener.getsockname()[1]
        with pytest.raises(SystemExit, match=r"^ours, 1 pair: the relay closed a connection$"):
            relay.forward("ours", relay.Running(process, port, None), CASES[0], 10)
        process.kill()
        closing.join()
