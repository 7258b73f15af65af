"""The registry of a matrix is read strictly, before anything runs."""

from __future__ import annotations

import pytest

from .parts import TEXT, registry


def test_a_registry_says_what_is_tried(tmp_path):
    found = registry(tmp_path)
    assert list(found.servers) == ["reference", "composed", "live", "wrong"]
    assert found.servers["live"].options == ("--domain", "chat.example.org")
    assert [each.mutant for each in found.servers.values() if each.mutant] == ["turn_other_secret"]
    call, realtime, mail = found.scenarios.values()
    assert [(each.clients, each.peers, each.networks) for each in (call, realtime, mail)] == [
        (True, True, True),
        (True, False, True),
        (False, False, False),
    ]


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ('kind = "reference+coturn"', 'kind = "reference+cotrun"', "is no server: .* did you mean coturn"),
        ('domain = "chat.example.org"', 'domain = "https://x/"', r"live\.domain is no server: .*without scheme"),
        ('domain = "chat.example.org"', "", "servers.live must have a kind, as in --server, or a domain"),
        ('kind = "mutant=turn_other_secret"', 'kind = "reference"', "servers has none that is wrong on purpose"),
        ("[servers.live]", '[servers."a b"]', "must be a word of small letters"),
        ("idle_reports_new_mail", "idle_reports_mail", r"check is .*did you mean mail\.idle_reports_new_mail\?"),
        ('must = ["call"]', 'must = ["cal"]', r"must has 'cal', which there is not; did you mean call\?"),
        ('"home:symmetric"', '"home:symetric"', r"networks has 'home:symetric': .*did you mean symmetric\?"),
        ('networks = ["home:home", "home:symmetric"]', "", "networks is missing, and call looks between networks"),
        ('"2.50.0"', '"2.5x"', "'2.5x' is no version of core like 2.20.0, nor newest"),
        ('"2.50.0"', '"1.150.0"', r"from 1\.160\.0 on, not v1\.150\.0"),
        ('server = "reference"', 'server = "refrence"', r"reference\.server is 'refrence'; did you mean reference\?"),
        ('must = ["call"]', 'musts = ["call"]', r"musts is no known key; did you mean must\?"),
        ('must = ["call"]', 'peers = ["webrtc"]', "peers has 'webrtc', which there is not"),
        ("clients = false", 'clients = "no"', "clients must be true or false"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_key(before, after, sentence, tmp_path):
    assert before in TEXT
    with pytest.raises(ValueError, match=sentence) as caught:
        registry(tmp_path, TEXT.replace(before, after))
    assert str(caught.value).startswith(f"{tmp_path / 'interop.toml'}")


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ('scenario = "cal"\nowner = "a"\nexpires = 2026-12-31', r"scenario is 'cal'; did you mean call\?"),
        (
            'scenario = "call"\nowner = " "\nexpires = 2026-12-31',
            "owner is empty: somebody has to answer for it",
        ),
        ('scenario = "call"\nowner = "a"', "expires is missing"),
        ('scenario = "call"\nowner = "a"\nexpires = "soon"', "expires must be a date such as 2026-12-31"),
        ('scenario = "call"\nowner = "a"\nexpires = 2026-12-31\nserver = "liv"', r"did you mean live\?"),
    ],
)
def test_a_known_red_has_an_owner_and_a_last_day(lines, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        registry(tmp_path, f"{TEXT}\n[[known]]\n{lines}\n")
