"""Files of users: everything that can be wrong with one is one sentence with the file, and the key or the line."""

import dataclasses
import re
import signal

import pytest

from harness.servers.file_format import FLAGS, NUMBERS, PLACES, TRANSLATED_BY_USE, read_description
from harness.servers.server import Wants
from harness.servers.templates import MissingValue, names_in, render
from harness.target import Service

TURN = """
services = ["turn"]
command = ["turnserver", "--secret={{turn_secret}}"]
[ports]
turn = ["udp"]
"""
MAIL = """
services = ["mail"]
command = ["maild"]
[ports]
imaps = ["tcp"]
submissions = ["tcp"]
"""


@pytest.fixture
def read(tmp_path):
    def read(text, name="mine.toml"):
        file = tmp_path / name
        file.write_text(text)
        return read_description(file)

    return read


def test_the_smallest_file(read):
    said = read(TURN)
    assert (said.name, said.services, said.stop_signal, said.mail) == (
        "mine",
        {Service.TURN},
        signal.SIGTERM,
        None,
    )
    assert said.translates == {"turn_secret"}
    assert not said.certified


def test_a_file_that_says_everything(read, tmp_path):
    (tmp_path / "run.sh").write_text("#!/bin/sh\n")
    said = read(
        """
        name = "whole"
        services = ["mail", "turn", "iroh_relay"]
        command = ["./run.sh", "{{ state }}/conf"]
        version = ["./run.sh", "--version"]
        capabilities = ["relay_v1"]
        ca_file = "own-ca.pem"
        iroh_relay_url = "https://{{host}}:{{ports.iroh_relay}}"
        [ports]
        imaps = ["tcp"]
        submissions = ["tcp"]
        turn = ["udp", "tcp"]
        iroh_relay = { protocols = ["tcp"], number = 3340 }
        [files]
        "conf" = "{{address6}} {{certificate}} {{strict_permissions}} {{relay_ping_interval}}"
        "sub/ttl" = "{{turn_ttl}} {{both_families}}"
        "sub/lifetimes" = "{{turn_lifetimes.permission}} {{turn_lifetimes.allocation}} {{turn_lifetimes.channel}}"
        [environment]
        RELAY = "{{advertised_relay}}"
        TURN = "{{advertised_turn.host}} {{advertised_turn.port}}"
        [ready]
        line = 'listening on \\d+'
        notify = true
        http = "http://{{address}}:{{ports.iroh_relay}}/ping"
        stun = ["turn"]
        within = 20
        [stop]
        signal = "SIGINT"
        patience = 2.5
        [wants]
        turn_ttl = 86400
        relay_ping_interval = 2.5
        strict_permissions = { false = "no", true = "yes" }
        both_families = { false = "", true = "6" }
        turn_lifetimes = { allocation = 600, permission = 300, channel = 600 }
        [mail]
        domain = "mail.{{host}}"
        dialect = "chatmail"
        accounts = ["alice@{{domain}}:geheim-geheim"]
        """
    )
    assert said.command[0] == str(tmp_path / "run.sh")
    assert said.ports["iroh_relay"].number == 3340
    assert said.defaults["turn_ttl"] == "86400"
    assert said.defaults["turn_lifetimes.channel"] == "600"
    assert (said.stop_signal, said.patience, said.ready.within) == (signal.SIGINT, 2.5, 20.0)
    assert said.translates == {
        *("turn_ttl", "relay_ping_interval", "strict_permissions", "both_families", "turn_lifetimes"),
        *("advertised_relay", "advertised_turn"),
    }
    assert said.certified


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name = \n", r"mine\.toml:1:8: Invalid value"),
        (TURN + "turn = 1\n", r"mine\.toml:6:9: Cannot overwrite a value"),
        ("", r"mine\.toml: services is missing"),
        ('services = "turn"', r"mine\.toml: services must be a list of texts"),
        ("services = []", "services must name at least one"),
        ('services = ["trun"]', r"services has 'trun'; there are mail, turn, iroh_relay"),
        (TURN.replace("command", "comand"), r"mine\.toml: command is missing"),
        (TURN.replace('["turnserver", ', '["", '), "command must begin with a program"),
        (TURN.replace('"turnserver"', '"./turn.sh"'), r"command names ./turn\.sh, and there is no file /"),
        (TURN.replace('["turnserver"', '["turnserver", 5'), "command must be a list of texts"),
        ('enviroment = {A = "b"}' + TURN, r"mine\.toml: enviroment is no known key; did you mean environment\?"),
        ("frobnicate = 1" + TURN, r"frobnicate is no known key; there are services, ports, "),
        ('name = "My Server"' + TURN, "name is 'My Server': it must be a word of small letters"),
        (
            'capabilities = ["turms"]' + TURN,
            r"capabilities has 'turms'; there are iroh_relay, relay_v035, relay_v1, turn, turns",
        ),
        (TURN.replace('turn = ["udp"]', ""), "ports lacks turn, which TURN needs"),
        (MAIL.replace('submissions = ["tcp"]', ""), "ports lacks submissions, which mail needs"),
        (TURN.replace('["udp"]', '["upd"]'), r"ports\.turn must name its protocols"),
        (TURN.replace('["udp"]', "3478"), r"ports\.turn must be a list of texts"),
        (TURN + 'turns = { protocols = ["tcp"] }', r"ports\.turns\.number is missing"),
        (TURN + 'turns = { protocols = ["tcp"], number = 99999 }', r"ports\.turns has the number 99999"),
        (TURN + 'turns = { protocols = ["tcp"], nummer = 1, number = 2 }', r"ports\.turns\.nummer is no known"),
        (TURN + '"my port" = ["tcp"]', "my port is no name for a port"),
        (TURN + '[files]\n"../etc/passwd" = ""', r'files\."\.\./etc/passwd" must be a path below the state'),
        (TURN + '[files]\n"/etc/passwd" = ""', "must be a path below the state"),
        (TURN + "[files]\na = 5", r"files\.a must be a text"),
        (TURN + '[files]\na = "{{ports.trun}}"', r"which is no value; did you mean {{ports\.turn}}\?"),
        (TURN + '[files]\na = "{{nothing_of_it}}"', r"files\.a uses {{nothing_of_it}}, which is no value$"),
        (TURN + '[environment]\nA = "{{turn_ttl}}"', r"A uses {{turn_ttl}}, and \[wants\] does not say what it is"),
        (TURN + "[wants]\nturn_ttl = 60", r"wants\.turn_ttl is used by no template: put {{turn_ttl}} into one"),
        (TURN + "[wants]\nturn_tll = 60", r"wants\.turn_tll is nothing that a check wants; did you mean turn_ttl\?"),
        (TURN + "[wants]\nfast = true", r"wants\.fast is nothing that a check wants; there are turn_ttl, "),
        (TURN + "[wants]\nturn_secret = 'a'", r"wants\.turn_secret needs no entry"),
        (TURN + "[wants]\nturn_ttl = 'long'", r"wants\.turn_ttl must be a number"),
        (TURN + "[wants]\nstrict_permissions = true", r"wants\.strict_permissions must be a table"),
        (TURN + "[wants]\nturn_lifetimes = { channel = 5 }", r"wants\.turn_lifetimes\.allocation is missing"),
        (TURN + '[ready]\nstun = ["stnu"]', r"ready\.stun names 'stnu', which is no UDP port in \[ports\]"),
        (TURN + "[ready]\nline = '('", r"ready\.line is no regular expression: "),
        (TURN + "[ready]\nwithin = -1", r"ready\.within is -1: it must be seconds"),
        (TURN + "[ready]\nnotify = 1", r"ready\.notify must be true or false"),
        (TURN + "[stop]\nsignal = 'TERM'", r"stop\.signal is 'TERM', which is no signal"),
        (TURN + "[mail]\ndialect = 'chatmail'", r"mine\.toml: mail is no known key"),
        (MAIL + "[mail]\ndialect = 'chattmail'", r"mail\.dialect is 'chattmail'; there are chatmail, "),
        (MAIL + "[mail]\naccounts = 'many'", r"mail\.accounts must be .login., .new. or a list"),
        (TURN.replace("{{turn_secret}}", "fixed"), "nobody knows the secret for TURN credentials: put {{turn_secret}}"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(text, sentence, read):
    with pytest.raises(ValueError, match=sentence) as caught:
        read(text)
    assert "mine.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_said(tmp_path):
    with pytest.raises(ValueError, match=r"mine\.toml cannot be read: No such file or directory"):
        read_description(tmp_path / "mine.toml")
    with pytest.raises(ValueError, match="cannot be read: Is a directory"):
        read_description(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"name = '\xe4'")
    with pytest.raises(ValueError, match=r"latin\.toml is no text in UTF-8"):
        read_description(tmp_path / "latin.toml")


def test_a_secret_of_its_own_cannot_be_wanted(read):
    said = read('turn_secret = "fixed"' + TURN)
    assert said.turn_secret == "fixed"
    assert said.translates == set()


def test_every_want_can_be_translated():
    """A new field of `Wants` must get a place in files of users, too; but for those of a composition, or of madmail."""
    every = {each.name for each in dataclasses.fields(Wants)} - {"services", "dovecot", "program_name"}
    assert {*NUMBERS, *FLAGS, *TRANSLATED_BY_USE, "turn_lifetimes"} == every
    assert set().union(*TRANSLATED_BY_USE.values()) <= PLACES


def test_templates_leave_what_is_not_theirs():
    text = "{{ .Go }} {{Name}} {{a|b}} ${x} {{ a }}{{b.c}} {{{a}}}"
    assert list(names_in(text)) == ["a", "b.c", "a"]
    assert render(text, {"a": "{{b.c}}", "b.c": "2"}) == "{{ .Go }} {{Name}} {{a|b}} ${x} {{b.c}}2 {{{b.c}}}"
    with pytest.raises(MissingValue, match=re.escape("{{b.c}} has no value here")):
        render(text, {"a": "1"})
