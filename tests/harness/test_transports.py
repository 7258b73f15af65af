"""Parts of the checks of two servers in one profile."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness.servers.server import Unsupported
from harness.steps.transports import turn_apart
from harness.target import Service

from .servers.parts import FakeProgram


def lab_with(mail: FakeProgram, turn: FakeProgram) -> Any:
    programs = {Service.MAIL: mail, Service.TURN: turn}
    return SimpleNamespace(
        server=SimpleNamespace(program=programs.__getitem__), target=SimpleNamespace(name="whole")
    )


def test_turn_that_is_a_program_of_its_own_can_end_alone():
    turn = FakeProgram("turn")
    assert turn_apart(lab_with(FakeProgram("mail"), turn)) is turn


def test_where_mail_and_turn_are_one_program_no_call_rings_without_turn():
    both = FakeProgram("both")
    with pytest.raises(Unsupported, match="whole: TURN and mail are one program"):
        turn_apart(lab_with(both, both))
