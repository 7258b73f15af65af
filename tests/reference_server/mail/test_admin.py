"""madmail's admin API: for whoever has the token, and nobody else; accounts, their mail, and who gets one."""

from __future__ import annotations

import http.client
import imaplib
import json
import smtplib
from pathlib import Path
from typing import Any

import pytest

from reference_server.errors import ConfigurationError
from reference_server.mail.admin import read_token
from tests.reference_server.mail.conftest import StartMail
from tests.reference_server.mail.running import ALICE, BOB, DEADLINE, PASSWORD, RunningMail

TOKEN = "0123456789abcdef"
RIGHT = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def mail(start_mail: StartMail, tmp_path: Path) -> RunningMail:
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    return start_mail(admin_token_file=file)


def post(mail: RunningMail, path: str, body: bytes, method: str = "POST") -> tuple[int, Any]:
    client = http.client.HTTPSConnection(mail.host, mail.ports["https"], context=mail.tls, timeout=DEADLINE)
    try:
        client.request(method, path, body)
        answer = client.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        client.close()


def ask(mail: RunningMail, resource: str, method: str = "GET", *, headers: Any = RIGHT, **body: str) -> Any:
    asked = {"method": method, "resource": resource, "headers": headers, "body": body}
    status, answer = post(mail, "/api/admin", json.dumps(asked).encode())
    assert status == 200
    return answer


def messages(mail: RunningMail, user: str, password: str = PASSWORD) -> int:
    client = mail.imap(user, password)
    (count,) = client.select()[1]
    client.logout()
    return int(count or 0)


@pytest.mark.parametrize(
    "headers",
    [
        None,
        {},
        [],
        {"Authorization": TOKEN},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": "Bearer "},
    ],
)
def test_only_the_token_opens_it(mail: RunningMail, headers: object) -> None:
    refused = ask(mail, "/admin/accounts", headers=headers)
    assert (refused["status"], refused["body"]) == (401, None)
    assert ask(mail, "/admin/status", headers={"authorization": f"Bearer {TOKEN}"})["status"] == 200


def test_without_a_token_there_is_no_such_api(start_mail: StartMail) -> None:
    assert post(start_mail(), "/api/admin", b"{}")[0] == 404


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 60000, b'"x"'])
def test_anything_but_an_object_is_refused(mail: RunningMail, body: bytes) -> None:
    assert post(mail, "/api/admin", body) == (
        200,
        {"status": 400, "resource": None, "body": None, "error": "invalid JSON request body"},
    )


def test_what_is_not_there_is_said(mail: RunningMail) -> None:
    assert post(mail, "/api/admin", b"", "GET")[0] == 405
    assert ask(mail, "/admin/nothing")["status"] == 404
    assert ask(mail, "/admin/status", "DELETE")["status"] == 405
    assert ask(mail, "/admin/queue", "POST", action="tidy")["status"] == 400
    assert ask(mail, "/admin/queue", "POST", action="purge_user")["status"] == 400
    assert ask(mail, "/admin/registration", "POST", action="enable")["status"] == 400
    assert ask(mail, "/admin/accounts", "DELETE", username="nobody@chatmail.test")["status"] == 404


def test_first_logins_can_be_switched_off_and_on(mail: RunningMail) -> None:
    mail.create(ALICE)
    assert ask(mail, "/admin/registration/jit", "POST", action="disable")["body"] == {"status": "disabled"}
    assert ask(mail, "/admin/registration/jit")["body"] == {"status": "disabled"}
    with pytest.raises(imaplib.IMAP4.error):
        mail.imap(BOB)
    with pytest.raises(smtplib.SMTPAuthenticationError):
        mail.smtp(BOB)
    mail.imap(ALICE).logout()
    made = post(mail, "/new", b"")[1]
    mail.imap(made["email"], made["password"]).logout()
    ask(mail, "/admin/registration/jit", "POST", action="enable")
    mail.imap(BOB).logout()


def test_the_command_line_switches_first_logins_off(start_mail: StartMail) -> None:
    with pytest.raises(imaplib.IMAP4.error):
        start_mail(first_login=False).imap(ALICE)


def test_the_web_can_be_closed(mail: RunningMail) -> None:
    ask(mail, "/admin/registration", "POST", action="close")
    assert post(mail, "/new", b"")[0] == 403
    assert ask(mail, "/admin/registration")["body"] == {"status": "closed"}
    ask(mail, "/admin/registration", "POST", action="open")
    assert post(mail, "/new", b"")[0] == 200


def test_purge_takes_read_mail_then_all_of_one_user(mail: RunningMail) -> None:
    mail.create(ALICE, BOB)
    for number in range(3):
        mail.send(ALICE, BOB, sender=ALICE, marker=f"mail-{number}")
    reader = mail.imap(ALICE)
    reader.select()
    reader.store("1:2", "+FLAGS", "\\Seen")
    assert ask(mail, "/admin/queue", "POST", action="purge_read")["body"]["deleted"] == 2
    assert reader.noop()[0] == "OK"
    assert reader.response("EXPUNGE")[1] == [b"2", b"1"]  # an open session hears of it
    reader.logout()
    assert (messages(mail, ALICE), messages(mail, BOB)) == (1, 3)
    assert ask(mail, "/admin/queue", "POST", action="purge_user", username=BOB)["body"]["deleted"] == 3
    assert (messages(mail, ALICE), messages(mail, BOB)) == (1, 0)
    assert ask(mail, "/admin/queue", "POST", action="purge_all")["body"]["deleted"] == 1


def test_what_was_purged_is_in_no_file(mail: RunningMail) -> None:
    mail.create(ALICE)
    marker = "never-to-be-seen-again"
    mail.send(ALICE, marker=marker)

    def files_with_it() -> list[Path]:
        return [
            each for each in mail.database.parent.glob("mail.sqlite*") if marker.encode() in each.read_bytes()
        ]

    assert files_with_it()
    ask(mail, "/admin/queue", "POST", action="purge_user", username=ALICE)
    assert files_with_it() == []


def test_a_deleted_account_is_gone_with_its_mail(mail: RunningMail) -> None:
    mail.create(ALICE, BOB)
    mail.send(BOB)
    open_session = mail.imap(BOB)
    open_session.select()
    assert ask(mail, "/admin/accounts")["body"] == {
        "accounts": [{"username": ALICE}, {"username": BOB}],
        "total": 2,
    }
    assert ask(mail, "/admin/accounts", "DELETE", username=BOB)["status"] == 200
    assert ask(mail, "/admin/status")["body"] == {"users": {"registered": 1}}
    open_session.noop()  # neither it nor the server breaks
    open_session.shutdown()
    with mail.smtp(ALICE) as client:
        client.mail(ALICE)
        assert client.rcpt(BOB)[0] == 550
    assert messages(mail, BOB, "another password") == 0  # anybody may have the name again


@pytest.mark.parametrize("content", ["", "short\n", "with a \x01 in it, and long\n", "größer als sechzehn\n"])
def test_a_token_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    with pytest.raises(ConfigurationError, match="--admin-token-file"):
        read_token(file)
    with pytest.raises(ConfigurationError, match="--admin-token-file"):
        read_token(tmp_path / "nowhere")


def test_a_blocked_account_logs_in_nowhere_until_it_is_unblocked(mail: RunningMail) -> None:
    for user in (ALICE, BOB):
        mail.create(user)
    address = f"{BOB}@chatmail.test" if "@" not in BOB else BOB
    assert ask(mail, "/admin/blocklist", "POST", username=address.upper())["status"] == 200
    assert ask(mail, "/admin/blocklist")["body"] == {"blocked": [{"username": address}], "total": 1}
    with pytest.raises(imaplib.IMAP4.error):
        mail.imap(BOB)
    with pytest.raises(smtplib.SMTPAuthenticationError):
        mail.smtp(BOB)
    mail.imap(ALICE).logout()
    assert ask(mail, "/admin/blocklist", "DELETE", username=address)["status"] == 200
    mail.imap(BOB).logout()
    assert ask(mail, "/admin/blocklist", "POST")["status"] == 400


def test_a_setting_is_kept_until_it_is_reset(mail: RunningMail) -> None:
    default = {"key": "language", "value": "en", "is_set": False}
    assert ask(mail, "/admin/settings/language")["body"] == default
    changed = {"key": "language", "value": "de", "is_set": True}
    assert ask(mail, "/admin/settings/language", "POST", action="set", value="de")["body"] == changed
    assert ask(mail, "/admin/settings")["body"] == {"language": changed}
    assert ask(mail, "/admin/settings/language", "POST", action="set", value="")["status"] == 400
    assert ask(mail, "/admin/settings/language", "POST", action="reset")["body"] == default
    assert ask(mail, "/admin/settings/nothing")["status"] == 404


def test_metadata_does_not_name_a_service_that_is_switched_off(start_mail: StartMail, tmp_path: Path) -> None:
    for name, text in (("token", TOKEN), ("secret", "of-turn-1234567890")):
        (tmp_path / name).write_text(f"{text}\n")
    mail = start_mail(
        admin_token_file=tmp_path / "token",
        turn_address="127.0.0.1:3478",
        turn_secret_file=tmp_path / "secret",
        iroh_relay_url="http://127.0.0.1:3340",
    )
    mail.create(ALICE)

    def named() -> set[str]:
        client = mail.imap(ALICE)
        keys = {name: f"/shared/vendor/deltachat/{name}" for name in ("turn", "irohrelay")}
        client.send(f'x1 GETMETADATA "" ({" ".join(keys.values())})\r\n'.encode())
        said = b""
        while not said.startswith(b"x1 "):
            said = client.readline()
            found.append(said)
        client.shutdown()
        return {name for name, key in keys.items() if any(f"{key} ".encode() in line for line in found)}

    found: list[bytes] = []
    assert named() == {"turn", "irohrelay"}
    for service, other in (("turn", "irohrelay"), ("iroh", "turn")):
        assert (
            ask(mail, f"/admin/services/{service}", "POST", action="disable")["body"]["status"] == "disabled"
        )
        found.clear()
        assert named() == {other}
        assert ask(mail, f"/admin/services/{service}", "POST", action="enable")["body"]["status"] == "enabled"
    found.clear()
    assert named() == {"turn", "irohrelay"}
