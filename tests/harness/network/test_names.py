"""Programs on a machine in a lab find the lab's names, in each way that finding them can go wrong."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import dns.message
import dns.query
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.hosts import LocalHost
from harness.network import profiles, resolver
from harness.network.lab import NAME_SERVERS, Lab, LabHost
from harness.network.names import Answer, Names, Refusal, Slow, Wrong
from harness.network.namespace import Namespace

ASK = """
import json, socket, sys, time
started = time.monotonic()
try:
    answer = sorted({each[4][0] for each in socket.getaddrinfo(sys.argv[1], 80)})
except socket.gaierror as error:
    answer = error.errno
print(json.dumps([answer, time.monotonic() - started]))
"""
NAME = "chat.example"


@pytest.fixture
def lab(lab: Lab) -> Lab:
    lab.names.set(NAME, "5.9.9.9", "2a01:4f8:9::9")
    return lab


def asked_by_a_program(host: LabHost | LocalHost, name: str) -> tuple[list[str] | int, float]:
    with host.popen([sys.executable, "-I", "-c", ASK, name], stdout=subprocess.PIPE) as process:
        answer, seconds = json.loads(process.communicate(timeout=60)[0])
    return answer, seconds


def asked_by_us(host: LabHost, name: str) -> tuple[list[str] | int | None, float]:
    started = time.monotonic()
    answer: list[str] | int | None
    try:
        answer = sorted(host.addresses_of(name))
    except socket.gaierror as error:
        answer = error.errno
    return answer, time.monotonic() - started


@pytest.fixture(params=[asked_by_a_program, asked_by_us], ids=["program", "harness"])
def asked(request):
    return request.param


def test_programs_and_the_harness_find_the_names_of_the_lab(lab, asked):
    alice = lab.server("alice")
    assert asked(alice, NAME)[0] == ["2a01:4f8:9::9", "5.9.9.9"]
    assert asked(alice, NAME.upper())[0] == ["2a01:4f8:9::9", "5.9.9.9"]
    assert asked(alice, "5.9.1.1")[0] == ["5.9.1.1"]
    assert asked(alice, "localhost")[0] in (["127.0.0.1", "::1"], ["127.0.0.1"])
    assert {(each.asker, each.type, each.known) for each in lab.names.queries} == {
        (alice.address, "A", True),
        (alice.address, "AAAA", True),
    }
    assert {each.name for each in lab.names.queries} == {NAME}


def test_a_foreign_name_does_not_exist_and_is_recorded(lab, asked):
    """Nobody waits, and the record says who would have gone where."""
    alice = lab.server("alice")
    answer, seconds = asked(alice, "turn.delta.chat")
    assert answer in (socket.EAI_NONAME, socket.EAI_NODATA)
    assert seconds < 4
    foreign = [each for each in lab.names.queries if not each.known]
    assert {(each.asker, each.name) for each in foreign} == {(alice.address, "turn.delta.chat")}
    assert all(abs(each.at - time.time()) < 600 for each in foreign)


def test_a_name_can_be_refused(lab, asked):
    alice = lab.server("alice")
    lab.names.fail(NAME, Refusal.NXDOMAIN)
    assert asked(alice, NAME)[0] in (socket.EAI_NONAME, socket.EAI_NODATA)
    lab.names.fail(NAME, Refusal.SERVFAIL)
    assert asked(alice, NAME)[0] == socket.EAI_AGAIN
    lab.names.heal(NAME)
    assert asked(alice, NAME)[0] == ["2a01:4f8:9::9", "5.9.9.9"]
    assert all(each.known for each in lab.names.queries)


def test_a_name_can_stand_for_another_machine(lab, asked):
    alice = lab.server("alice")
    lab.names.fail(NAME, Wrong(("5.9.7.7",)))
    assert asked(alice, NAME)[0] == ["5.9.7.7"]


def test_an_answer_can_be_late(lab, asked):
    alice = lab.server("alice")
    lab.names.fail(NAME, Slow(1.5))
    answer, seconds = asked(alice, NAME)
    assert answer == ["2a01:4f8:9::9", "5.9.9.9"]
    assert seconds >= 1.4


@pytest.mark.nightly
def test_silence_is_waited_for(lab, asked):
    alice = lab.server("alice")
    lab.names.fail(NAME, Refusal.SILENCE)
    answer, seconds = asked(alice, NAME)
    assert answer == socket.EAI_AGAIN
    assert seconds >= 9
    assert len(lab.names.queries) == 4  # two attempts for each family


def test_hosts_file_of_one_machine(lab, asked):
    alice, bob = lab.server("alice"), lab.server("bob")
    resolver.give_hosts(alice.namespace, {"printer.example": ["5.9.8.8"]})
    assert asked(alice, "printer.example")[0] == ["5.9.8.8"]
    assert lab.names.queries == ()
    assert asked(bob, "printer.example")[0] in (socket.EAI_NONAME, socket.EAI_NODATA)


def test_connections_are_made_by_name(lab):
    alice, bob = lab.server("alice"), lab.server("bob")
    lab.names.set("bob.example", *bob.addresses)
    with bob.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind((bob.address, 80))
        listener.listen()
        # IPv6 comes first, and is refused there.
        with alice.connect("bob.example", 80, within=5) as connection:
            assert connection.getpeername() == (bob.address, 80)
        with alice.connect("bob.example", 80, within=5, kind=socket.SOCK_DGRAM) as connection:
            assert connection.getpeername()[0] == bob.addresses[1]


@pytest.mark.parametrize("server", NAME_SERVERS)
def test_tcp_and_both_families(lab, server):
    alice = lab.server("alice")
    lab.names.set("many.example", *(f"5.9.100.{each}" for each in range(1, 101)))
    query = dns.message.make_query("many.example", "A", payload=512)
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with alice.socket(family, socket.SOCK_DGRAM) as udp, alice.socket(family, socket.SOCK_STREAM) as tcp:
        udp.setblocking(False)
        tcp.settimeout(10)
        tcp.connect((server, 53))
        tcp.setblocking(False)
        answer, by_tcp = dns.query.udp_with_fallback(query, server, timeout=10, udp_sock=udp, tcp_sock=tcp)
    assert by_tcp
    assert len(answer.answer[0]) == 100


def test_the_files_outside_are_as_before(lab):
    files = [Path("/etc/hosts"), Path("/etc/resolv.conf"), Path("/etc/nsswitch.conf")]
    before = [each.read_bytes() for each in files]
    alice = lab.server("alice")
    inside = [alice.namespace.call(each.read_bytes) for each in files]
    assert [each.read_bytes() for each in files] == before
    assert inside[1] == f"nameserver {NAME_SERVERS[0]}\n".encode()
    assert inside[2].count(b"hosts:") == 1


@pytest.mark.parametrize("kind", ["symlink", "mount"])
def test_resolv_conf_may_be_a_link_or_a_mount(lab, tmp_path, kind):
    """As systemd-resolved has it, and as containers have it."""
    theirs = tmp_path / "stub-resolv.conf"
    theirs.write_text("nameserver 192.0.2.1\n")
    etc = tmp_path / "etc"
    etc.mkdir()
    for each in ("hosts", "nsswitch.conf"):
        shutil.copy(Path("/etc", each), etc)
    if kind == "symlink":
        (etc / "resolv.conf").symlink_to(theirs)
    else:
        (etc / "resolv.conf").touch()
    with Namespace("strange") as namespace:
        namespace.replace_file(Path("/etc"), etc)
        if kind == "mount":
            namespace.replace_file(Path("/etc/resolv.conf"), theirs)
        resolver.give_name_servers(namespace, ["5.9.0.1"])
        with namespace.popen(["cat", "/etc/resolv.conf"], stdout=subprocess.PIPE) as process:
            assert process.communicate()[0] == b"nameserver 5.9.0.1\n"
    assert theirs.read_text() == "nameserver 192.0.2.1\n"


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (Refusal.NXDOMAIN, "has no address: 5.9.0.1 says NXDOMAIN"),
        (Refusal.SERVFAIL, "5.9.0.1 says SERVFAIL"),
    ],
)
def test_the_cause_is_named(lab, failure, words):
    lab.names.fail(NAME, failure)
    with pytest.raises(socket.gaierror, match=words):
        lab.server("alice").connect(NAME, 80, within=5)


@pytest.mark.parametrize(
    "profile", [profiles.HOME, profiles.ONLY_443, profiles.IPV6_ONLY], ids=lambda each: each.name
)
def test_names_are_found_from_behind_routers(lab, profile):
    device = lab.device("alice", profile)
    assert asked_by_a_program(device, NAME)[0] == ["2a01:4f8:9::9", "5.9.9.9"]


def test_a_moved_device_finds_names(lab):
    device = lab.device("alice", profiles.HOME)
    lab.move(device, profiles.IPV6_ONLY)
    assert asked_by_a_program(device, NAME)[0] == ["2a01:4f8:9::9", "5.9.9.9"]


def test_records_of_other_kinds_are_told_as_they_are_published():
    names = Names({NAME: ("5.9.9.9",)})
    names.publish(NAME, "MX", "10 mail.chat.example.")
    names.publish("key.chat.example", "TXT", "k" * 600)

    def told(name: str, kind: str) -> list[str]:
        answer = names.answer(dns.message.make_query(name, kind).to_wire(), "5.9.9.1", udp=False)
        assert isinstance(answer, Answer)
        return [record.to_text() for rrset in dns.message.from_wire(answer.wire).answer for record in rrset]

    assert told(NAME, "MX") == ["10 mail.chat.example."]
    assert told(NAME, "A") == ["5.9.9.9"]
    assert told(NAME, "TXT") == []
    assert told("key.chat.example", "TXT")[0].replace('" "', "").strip('"') == "k" * 600


def test_what_is_no_query_gets_no_answer():
    names = Names()
    answer = dns.message.make_response(dns.message.make_query(NAME, "A"))
    assert names.answer(b"", "5.9.0.2", udp=True) is None
    assert names.answer(answer.to_wire(), "5.9.0.2", udp=True) is None
    assert names.queries == ()


@given(st.binary(max_size=600), st.booleans())
def test_any_bytes_are_borne(noise, with_header):
    names = Names({NAME: ["5.9.9.9"]})
    query = dns.message.make_query(NAME, "A").to_wire()
    names.answer(query[:12] + noise if with_header else noise, "5.9.0.2", udp=True)
