"""Names that accounts may have, and the spellings of an address that are the same account, by dialect."""

from __future__ import annotations

import pytest

from reference_server.mail.settings import Dialect
from tests.reference_server.mail.conftest import StartMail
from tests.reference_server.mail.pgp import encrypted_message
from tests.reference_server.mail.running import PASSWORD

LITERAL, BARE = "somebody@[192.0.2.7]", "somebody@192.0.2.7"


def test_in_the_madmail_dialect_a_bare_address_is_the_literal(start_mail: StartMail) -> None:
    mail = start_mail(dialect=Dialect.MADMAIL, domain="[192.0.2.7]")
    for name in (BARE, LITERAL, BARE.upper()):
        mail.imap(name).logout()
        with mail.smtp(name) as client:
            client.mail(name)
            assert client.rcpt(name)[0] == 250
            assert client.data(encrypted_message(name))[0] == 250
    with mail.smtp(BARE) as client:
        client.docmd("RSET")
        client.docmd("MAIL", f"FROM:<{LITERAL}>")
        assert client.rcpt("somebody@192.0.2.8")[0] == 550
    imap = mail.imap(LITERAL)
    assert imap.select()[1] == [b"3"]
    imap.logout()
    assert {event["user"] for event in mail.events("account_created")} == {LITERAL}


@pytest.mark.parametrize("domain", ["192.0.2.7", "[192.0.2.7]"])
def test_the_domain_of_a_madmail_may_be_bare(start_mail: StartMail, domain: str) -> None:
    mail = start_mail(dialect=Dialect.MADMAIL, domain=domain)
    mail.create(LITERAL, BARE)


def test_in_the_chatmail_dialect_a_bare_address_is_another_one(start_mail: StartMail) -> None:
    mail = start_mail(domain="[192.0.2.7]")
    mail.create("somebod_y@[192.0.2.7]")
    for name in ("somebod_y@192.0.2.7", "somebod_x@192.0.2.7"):
        with pytest.raises(Exception, match="AUTHENTICATIONFAILED"):
            mail.imap(name)


@pytest.mark.parametrize(
    ("dialect", "length", "password", "accepted"),
    [
        (Dialect.MADMAIL, 7, PASSWORD, False),
        (Dialect.MADMAIL, 8, "password", True),
        (Dialect.MADMAIL, 20, PASSWORD, True),
        (Dialect.MADMAIL, 21, PASSWORD, False),
        (Dialect.MADMAIL, 8, "passwor", False),
        (Dialect.CHATMAIL, 8, PASSWORD, False),
        (Dialect.CHATMAIL, 9, PASSWORD, True),
        (Dialect.CHATMAIL, 10, PASSWORD, False),
        (Dialect.CHATMAIL, 9, "password", False),
    ],
)
def test_lengths_of_names_by_dialect(
    start_mail: StartMail, dialect: Dialect, length: int, password: str, accepted: bool
) -> None:
    mail = start_mail(dialect=dialect)
    name = f"{'x' * length}@chatmail.test"
    if accepted:
        mail.imap(name, password).logout()
    else:
        with pytest.raises(Exception, match="AUTHENTICATIONFAILED"):
            mail.imap(name, password)
