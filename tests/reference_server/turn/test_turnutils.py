"""coturn's own client, `turnutils_uclient` as Debian has it, in its modes: nothing is lost."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from reference_server.tls import issue_development_certificate
from tests.reference_server.turn.running import DEADLINE, SECRET, running

pytestmark = pytest.mark.skipif(
    shutil.which("turnutils_uclient") is None, reason="turnutils_uclient: apt-get install coturn"
)

MESSAGES = 25
COUNTS = re.compile(r"tot_send_msgs=(\d+), tot_recv_msgs=(\d+)")
LOST = re.compile(r"Total lost packets (\d+)")
MODES = {
    "channels over UDP": ("udp", ["-c"]),
    "channels over TCP": ("tcp", ["-c", "-t"]),
    "channels over TLS": ("tls", ["-c", "-t", "-S"]),
    "Send indications over UDP": ("udp", ["-c", "-s"]),
    "Send indications over TCP": ("tcp", ["-c", "-s", "-t"]),
    "pairs of ports for RTP and RTCP": ("udp", []),
    "pairs of ports over TLS": ("tls", ["-t", "-S"]),
    "padded channel data": ("udp", ["-c", "-D"]),
    "further requests in between": ("udp", ["-c", "-G"]),
    "Send indications with DONT-FRAGMENT": ("udp", ["-c", "-s", "-g"]),
    "channels with DONT-FRAGMENT": ("udp", ["-c", "-g"]),
    "1200 bytes each": ("udp", ["-c", "-l", "1200"]),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    directory = tmp_path_factory.mktemp("turn")
    issued = issue_development_certificate(directory / "tls", ["127.0.0.1"])
    tls = ("--cert", issued.certificate_file, "--key", issued.key_file)
    with running(directory, *tls, listen=("udp", "tcp", "tls")) as started:
        yield started


@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_lost(server, mode):
    transport, flags = MODES[mode]
    host, port = server.address(transport)
    # -y: its clients send to each other; -W: user names of the kind EXPIRY:NAME (TURN REST)
    words = [
        "turnutils_uclient",
        "-y",
        *flags,
        "-n",
        MESSAGES,
        "-m",
        2,
        "-z",
        5,
        "-u",
        "somebody",
        "-W",
        SECRET,
    ]
    ended = subprocess.run(
        [str(word) for word in [*words, "-p", port, host]],
        capture_output=True,
        text=True,
        timeout=3 * DEADLINE,
        check=False,
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said
    counts = [(int(sent), int(received)) for sent, received in COUNTS.findall(said)]
    assert counts, said
    sent, received = counts[-1]
    assert sent == received
    assert sent >= 2 * MESSAGES
    assert [int(lost) for lost in LOST.findall(said)][-1] == 0, said
