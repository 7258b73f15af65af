"""A server that others can reach stores passwords at the full price of argon2 (SECURITY.md)."""

from __future__ import annotations

from pathlib import Path

import pytest

from reference_server.mail.settings import MailSettings, PasswordHashCost
from reference_server.plan import plan
from reference_server.settings import ServerSettings

HOST = "127.77.3.1"


@pytest.mark.parametrize(
    ("public", "stated", "cost"),
    [
        (False, {}, PasswordHashCost.LOW),
        (True, {}, PasswordHashCost.NORMAL),
        (True, {"password_hash_cost": PasswordHashCost.LOW}, PasswordHashCost.LOW),
    ],
)
def test_the_price_of_a_guess(
    tmp_path: Path, public: bool, stated: dict[str, PasswordHashCost], cost: PasswordHashCost
) -> None:
    settings = ServerSettings(host=HOST, public=public, ephemeral_ports=True)
    planned = plan(settings, stated, {}, state=tmp_path, runtime=tmp_path)
    assert planned.claim is not None
    with planned.claim:
        mail = planned.services["mail"]
        assert isinstance(mail, MailSettings)
        assert mail.password_hash_cost is cost
