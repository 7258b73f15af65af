"""Credentials in METADATA that anybody can compute, told without asking a server."""

from __future__ import annotations

import pytest

from harness.clients.turn.client import TurnCredentials
from harness.look.known_secrets import KNOWN, known_secret

EXPIRES = 1_800_000_000


@pytest.mark.parametrize("secret", KNOWN)
def test_a_secret_that_is_known_is_recognised(secret):
    assert known_secret(TurnCredentials.from_secret(secret, EXPIRES)) == KNOWN[secret]


def test_the_empty_secret_is_one_of_them_and_others_are_not():
    assert "" in KNOWN
    assert known_secret(TurnCredentials.from_secret("only we know this", EXPIRES)) == ""
    assert known_secret(TurnCredentials(str(EXPIRES), "")) == ""
