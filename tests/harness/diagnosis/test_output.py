"""A diagnosis in words, in JSON and in metrics; whatever a server says does nothing to whoever reads it."""

from __future__ import annotations

import json
from dataclasses import replace

from harness.diagnosis.data import as_json, as_metrics
from harness.diagnosis.diagnosis import diagnose
from harness.diagnosis.text import changes, render

from .looks import HEALTHY, HOST, REFUSED, TURN, port, ports, with_mail, with_turn

SICK = with_turn(first=REFUSED, second=None, pair=None, from_outside=None, to_outside=None)
HOSTILE = "\x1b[31m\x00\u202etxt"


def test_a_sick_server_in_words():
    text = render(diagnose(SICK))
    assert text.startswith(HOST)
    lines = text.splitlines()
    assert any(line.startswith("  SICK  TURN chat.example.org:3478") for line in lines)
    for label, words in {
        "Cause": "The mail server and the TURN server do not have the same secret. [turn.secret_differs]",
        "Why sure": "UDP 3478 answers STUN",
        "Harm": "No call connects",
        "Change": "madmail: `turn_secret`",
        "Try": "dc-harness doctor chat.example.org --only turn",
    }.items():
        assert any(line.startswith(f"{label:<12}") and words in line for line in lines), label
    assert lines[-2] == "SICK: turn.secret_differs."
    assert max(map(len, lines)) <= 100


def test_a_healthy_server_in_words():
    text = render(diagnose(HEALTHY))
    assert "HEALTHY: nothing was found wrong." in text
    assert "Cause" not in text
    assert "993 465 587 443; valid for 87 days; clock 0.2 s apart" in text
    assert "2 new accounts" in text


def test_both_of_two_possible_causes_stand_there():
    silent = replace(
        SICK,
        turn=replace(
            TURN,
            address="",
            first=None,
            udp=(replace(TURN.udp[0], reached="silent"),),
            tcp=(replace(TURN.tcp[0], reached="silent"),),
        ),
    )
    text = render(diagnose(silent))
    assert "\nOr          TURN does not run where METADATA says. [turn.not_answering]" in text
    assert "\nTell apart" in text
    assert "\nOr change" in text


def test_json_has_the_cause_what_was_excluded_and_what_to_do():
    found = json.loads(as_json(diagnose(SICK)))
    assert found["cause"] == "turn.secret_differs"
    assert found["healthy"] is False
    assert "turn.not_answering" in found["excluded"]
    assert found["fix"][0].startswith("madmail: ")
    assert found["causes"][0]["evidence"]
    assert found["look"]["kind"] == "look"
    healthy = json.loads(as_json(diagnose(HEALTHY)))
    assert (healthy["healthy"], healthy["cause"], healthy["causes"]) == (True, None, [])


def test_metrics_have_a_sample_for_each_cause():
    lines = as_metrics(diagnose(SICK)).splitlines()
    assert f'dc_harness_doctor_healthy{{host="{HOST}"}} 0' in lines
    assert f'dc_harness_doctor_cause{{host="{HOST}",cause="turn.secret_differs",weight="sick"}} 1' in lines
    assert f'dc_harness_doctor_certificate_days{{host="{HOST}",address="203.0.113.5",port="993"}} 87' in lines
    assert all(line.startswith(("# HELP ", "# TYPE ", "dc_harness_doctor_")) for line in lines)
    assert f'dc_harness_doctor_healthy{{host="{HOST}"}} 1' in as_metrics(diagnose(HEALTHY))
    unknown = diagnose(with_mail(log_in="broken", log_in_words="nothing", metadata="", submission=""))
    assert f'dc_harness_doctor_healthy{{host="{HOST}"}} -1' in as_metrics(unknown)


def test_only_what_changes_is_said_again():
    sick, healthy = diagnose(SICK), diagnose(HEALTHY)
    assert changes(healthy, healthy) == ""
    assert "new       The mail server and the TURN server" in changes(healthy, sick)
    assert "healed    The mail server and the TURN server" in changes(sick, healthy)


def test_no_text_of_a_server_does_anything_to_a_reader():
    look = replace(
        with_mail(turn=f"{HOSTILE}:3478", relay=f"http://{HOSTILE}/", log_in_words=HOSTILE),
        host=f'{HOSTILE}"\n',
        ports=(port("imaps", greeting=f"* BYE {HOSTILE}", turned_away=True), *ports()[1:]),
    )
    for text in (render(diagnose(look)), as_json(diagnose(look)), as_metrics(diagnose(look))):
        assert not set(text) & {"\x1b", "\x00", "\u202e"}
    assert '\\"' in as_metrics(diagnose(look)).splitlines()[2]
