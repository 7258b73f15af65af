"""The doctor as people run it, at servers that mean no good: bounded in time and memory, and clean in its words."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.diagnosis.diagnosis import diagnose
from harness.diagnosis.text import render
from harness.hosts import LocalHost
from harness.look.look import look_at
from harness.look.packets import MOST_PACKETS
from harness.target import Target

from .hostile import (
    CAPABLE,
    HOSTILE,
    RELAY,
    TURN,
    Answer,
    endless,
    imap,
    metadata,
    saying,
    serving,
    with_imap,
)

LONGEST = 10.0
"""Seconds of a look."""
MEGABYTE = 1024 * 1024
MORE_THAN_A_HEALTHY_ONE = 64 * MEGABYTE
"""Bytes that a hostile server can make the doctor keep, with room for what differs from run to run."""


def a_literal_without_end(session: socket.socket) -> None:
    session.sendall(b"* OK ready\r\n")
    lines = session.makefile("rb")
    while line := lines.readline():
        tag, command, *_ = line.split()
        if command == b"GETMETADATA":
            session.sendall(b'* METADATA "" (/shared/comment {999999999}\r\n')
            while True:
                session.sendall(b"x" * 65536)
        session.sendall(CAPABLE.get(command, b"") + tag + b" OK done\r\n")


HANDLERS: Mapping[str, Answer] = {
    "right": imap(CAPABLE),
    "slow": imap(CAPABLE, pause=10),
    "garbage": saying(os.urandom(4096)),
    "endless line": endless(b"* OK no end of a line "),
    "endless lines": endless(b"* 1 EXISTS\r\n" * 1000),
    "endless literal": a_literal_without_end,
    "reason": saying(b"* BYE " + HOSTILE * 200 + b"\r\n"),
    "megabyte": imap(metadata(TURN, b"x" * MEGABYTE)),
    "user info": imap(metadata(RELAY, b"http://user:hunter2@127.0.0.1:9/")),
    "handshake": saying(),
}


@dataclass(frozen=True)
class Ended:
    """A doctor that has ended."""

    code: int
    out: str
    err: str
    memory: int
    """Bytes, at most."""

    @property
    def seconds(self) -> float:
        return float(json.loads(self.out)["look"]["seconds"])


@pytest.fixture(scope="module")
def doctors(tls, tmp_path_factory) -> Mapping[str, Ended]:
    """One for each of `HANDLERS`, all at the same time: most of them wait."""
    directory = tmp_path_factory.mktemp("doctors")
    with ExitStack() as stack:
        started = {}
        for name, handler in HANDLERS.items():
            answers = {**with_imap(tls, handler), **({"imaps": handler} if name == "handshake" else {})}
            target = stack.enter_context(serving(tls, answers))
            started[name] = start(target, directory / name.replace(" ", "_"))
        return {name: ended(process, directory / name.replace(" ", "_")) for name, process in started.items()}


def start(target: Target, place: Path) -> subprocess.Popen[bytes]:
    ports = {name: getattr(target, name) for name in ("imaps", "imap", "submissions", "submission", "https")}
    known = {
        "host": target.host,
        "domain": target.domain,
        "dialect": "unknown",
        "ca_file": str(target.ca_file),
    }
    place.mkdir()
    (place / "endpoints.json").write_text(json.dumps({"endpoints": known | ports}))
    command = [str(Path(sys.executable).with_name("dc-harness")), "doctor", "--json"]
    with (place / "out").open("wb") as out, (place / "err").open("wb") as err:
        return subprocess.Popen(
            [*command, "--endpoints", str(place / "endpoints.json")], stdout=out, stderr=err
        )


def ended(process: subprocess.Popen[bytes], place: Path) -> Ended:
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    out, err = ((place / each).read_text(encoding="utf-8") for each in ("out", "err"))
    return Ended(process.returncode, out, err, usage.ru_maxrss * 1024)


@pytest.mark.parametrize("name", HANDLERS)
def test_it_ends_in_time_and_keeps_little(name, doctors):
    found = doctors[name]
    assert found.err == ""
    assert found.seconds < LONGEST
    assert found.memory < doctors["right"].memory + MORE_THAN_A_HEALTHY_ONE
    assert len(found.out) < 40_000


@pytest.mark.parametrize("name", HANDLERS)
def test_its_words_are_clean_and_name_no_secret(name, doctors):
    text = doctors[name].out + json.dumps(json.loads(doctors[name].out), ensure_ascii=False)
    assert not set(text) & {"\x1b", "\x00", "\u202e"}
    assert not any(
        each in text for each in ("\\u001b", "\\u0000", "\\u202e", "hunter2", "Traceback", "Errno")
    )


def test_what_serves_nobody_is_a_cause_and_what_is_slow_could_not_be_told(doctors):
    causes = {name: json.loads(each.out)["cause"] for name, each in doctors.items()}
    codes = {name: each.code for name, each in doctors.items()}
    for name in ("garbage", "endless line", "reason", "handshake"):
        assert (codes[name], causes[name]) == (1, "mail.refuses_sessions"), name
    assert (codes["slow"], causes["slow"]) == (3, None)
    assert (codes["megabyte"], causes["megabyte"]) == (1, "metadata.turn_unusable")
    assert (codes["user info"], causes["user info"]) == (1, "relay.port_closed")
    assert (codes["endless literal"], causes["endless literal"]) == (1, "metadata.unreadable")


class Many(LocalHost):
    """A machine on which a name has five hundred addresses, the first of which is the server's."""

    def resolve(self, name: str) -> tuple[str, ...]:
        if name != "many.example":
            return super().resolve(name)
        return ("127.0.0.1", *(f"127.9.{each // 250}.{each % 250 + 1}" for each in range(499)))


def test_five_hundred_addresses_are_told_and_a_few_are_looked_at(tls):
    with serving(tls, with_imap(tls, imap(CAPABLE))) as target:
        many = Target(**{**vars(target), "host": "many.example", "name": "many.example"})
        found = diagnose(look_at(many, Many(), parts=("turn", "relay")))
    assert found.look.seconds < LONGEST
    assert found.look.packets is not None and found.look.packets <= MOST_PACKETS
    assert {each.address for each in found.look.ports} <= {
        "127.0.0.1",
        *(f"127.9.0.{n}" for n in range(1, 9)),
    }
    assert "name.address_dead" in [each.cause.name for each in found.causes]
    [left_out] = [each for each in found.look.not_looked_at if each.startswith("127.9.")]
    assert "a look sends no more than 200 packets" in left_out
    assert len(render(found)) < 12_000
