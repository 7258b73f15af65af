"""madmail's admin API: for whoever has the token, and nobody else; accounts, their mail, and who gets one."""

from __future__ import annotations

import contextlib
import http.client
import imaplib
import json
import smtplib
import socket
from pathlib import Path
from typing import Any

import pytest

from harness.hosts import LocalHost
from harness.servers.process import free_port
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


def ask(mail: RunningMail, resource: str, method: str = "GET", *, headers: Any = RIGHT, **body: Any) -> Any:
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
    default = {"key": "__LANGUAGE__", "value": "en", "is_set": False}
    assert ask(mail, "/admin/settings/language")["body"] == default
    changed = {"key": "__LANGUAGE__", "value": "de", "is_set": True}
    at_once = {"restart_required": False}
    set_to = ask(mail, "/admin/settings/language", "POST", action="set", value="de")["body"]
    assert set_to == {**changed, **at_once}
    assert ask(mail, "/admin/settings")["body"]["language"] == changed
    assert ask(mail, "/admin/settings/language", "POST", action="set", value="")["status"] == 400
    assert ask(mail, "/admin/settings/language", "POST", action="reset")["body"] == {**default, **at_once}
    assert ask(mail, "/admin/settings/nothing")["status"] == 404


def listens(mail: RunningMail, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((mail.host, port), timeout=DEADLINE):
        return True
    return False


def test_a_reload_moves_a_listener_and_a_reset_takes_it_back(mail: RunningMail) -> None:
    mail.create(ALICE)
    old, new = mail.ports["submission"], free_port(LocalHost(), mail.host)
    setting = "/admin/settings/submission_port"
    assert ask(mail, setting)["body"] == {"key": "__SUBMISSION_PORT__", "value": str(old), "is_set": False}
    assert ask(mail, setting, "POST", action="set", value=str(new))["body"]["restart_required"]
    assert listens(mail, old)
    assert not listens(mail, new)  # not before the reload
    assert ask(mail, "/admin/reload", "POST")["status"] == 200
    assert listens(mail, new)
    assert not listens(mail, old)
    ask(mail, setting, "POST", action="reset")
    ask(mail, "/admin/reload", "POST")
    assert listens(mail, old)
    assert not listens(mail, new)


def test_a_port_that_is_taken_leaves_the_listener_where_it_is(mail: RunningMail) -> None:
    taken, old = mail.ports["imap"], mail.ports["submission"]
    ask(mail, "/admin/settings/submission_port", "POST", action="set", value=str(taken))
    answer = ask(mail, "/admin/reload", "POST")
    assert (answer["status"], answer["error"]) == (
        500,
        f"submission_port: Address already in use (submission, {mail.host} port {taken})",
    )
    assert listens(mail, old)


@pytest.mark.parametrize("value", ["0", "65536", "-1", "587x", "٥٨٧", "1" * 5000])
def test_what_is_no_port_is_refused(mail: RunningMail, value: str) -> None:
    assert ask(mail, "/admin/settings/imap_port", "POST", action="set", value=value)["status"] == 400


def test_a_quota_holds_for_one_account_until_it_is_reset(mail: RunningMail) -> None:
    mail.create(ALICE, BOB)
    mail.send(BOB, sender=ALICE)
    about_all = ask(mail, "/admin/quota")["body"]
    assert about_all["accounts_count"] == 2
    assert about_all["total_storage_bytes"] > 0
    assert ask(mail, "/admin/quota", "PUT", username=BOB, max_bytes=1)["status"] == 200
    told = ask(mail, "/admin/quota", username=BOB)["body"]
    assert told == {
        "username": BOB,
        "used_bytes": about_all["total_storage_bytes"],
        "max_bytes": 1,
        "is_default": False,
    }
    with mail.smtp(ALICE) as client:
        client.mail(ALICE)
        assert client.rcpt(BOB) == (552, f"5.2.2 <{BOB}>: The mailbox is full".encode())
        assert client.rcpt(ALICE)[0] == 250
    reader = mail.imap(BOB)
    assert reader.getquota('"User quota"')[1] == [b'"User quota" (STORAGE 1 0)']
    assert reader.append("INBOX", None, None, b"From: a@b\r\n\r\nx")[0] == "NO"
    reader.logout()
    ask(mail, "/admin/quota", "DELETE", username=BOB)
    assert ask(mail, "/admin/quota", username=BOB)["body"]["is_default"]
    mail.send(BOB, sender=ALICE)


@pytest.mark.parametrize("most", [-1, "1", None, 1.5, True, 1 << 70])
def test_what_is_no_quota_is_refused(mail: RunningMail, most: Any) -> None:
    mail.create(BOB)
    assert ask(mail, "/admin/quota", "PUT", username=BOB, max_bytes=most)["status"] == 400
    assert ask(mail, "/admin/quota", "PUT", username="nobody@chatmail.test", max_bytes=1)["status"] == 404


def test_an_operator_makes_accounts_while_nobody_else_gets_one(mail: RunningMail) -> None:
    ask(mail, "/admin/registration", "POST", action="close")
    ask(mail, "/admin/registration/jit", "POST", action="disable")
    made = ask(mail, "/admin/accounts", "POST")
    assert made["status"] == 201
    mail.imap(made["body"]["email"], made["body"]["password"]).logout()
    assert ask(mail, "/admin/accounts")["body"]["accounts"] == [{"username": made["body"]["email"]}]


def test_overrides_are_listed_until_they_are_deleted(mail: RunningMail) -> None:
    for key, target in (
        ("Other.Example", "https://relay.example:8443/post"),
        ("[203.0.113.5]", "mx.example"),
    ):
        assert ask(mail, "/admin/dns", "POST", lookup_key=key, target_host=target)["status"] == 201
    listed = ask(mail, "/admin/dns")["body"]["overrides"]
    assert [(each["lookup_key"], each["target_host"]) for each in listed] == [
        ("203.0.113.5", "mx.example"),
        ("other.example", "https://relay.example:8443/post"),
    ]
    assert ask(mail, "/admin/dns", "DELETE", lookup_key="nowhere.example")["body"] == {
        "deleted": "nowhere.example"
    }
    ask(mail, "/admin/dns", "DELETE", lookup_key="OTHER.example")
    ask(mail, "/admin/dns", "DELETE", lookup_key="203.0.113.5")
    assert ask(mail, "/admin/dns")["body"] == {"overrides": [], "total": 0}


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
