"""Clients that Debian has, as users run them: curl, swaks, msmtp, mbsync and s-nail."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from reference_server.certificates import DevelopmentCertificate
from reference_server.mail.settings import Dialect
from tests.reference_server.mail.conftest import StartMail
from tests.reference_server.mail.pgp import encrypted_message
from tests.reference_server.mail.running import ALICE, BOB, DEADLINE, PASSWORD, RunningMail

AUTOCONFIG = "/.well-known/autoconfig/mail/config-v1.1.xml"


def needs(program: str, package: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program}: apt-get install {package}")


def run(
    *words: str | Path, given: bytes = b"", home: Path | None = None, expected: int = 0
) -> subprocess.CompletedProcess[bytes]:
    """Ends with this exit code, or its output is the failure."""
    environment = {**os.environ, **({"HOME": str(home), "MAILRC": "/dev/null"} if home else {})}
    ended = subprocess.run(
        list(map(str, words)),
        input=given,
        capture_output=True,
        timeout=3 * DEADLINE,
        env=environment,
        check=False,
    )
    assert ended.returncode == expected, ended.stdout.decode() + ended.stderr.decode()
    return ended


def stored(mail: RunningMail, user: str) -> list[bytes]:
    imap = mail.imap(user)
    imap.select()
    _, answer = imap.uid("fetch", "1:*", "(BODY.PEEK[])")
    imap.logout()
    return [part[1] for part in answer if isinstance(part, tuple)]


@needs("curl", "curl")
def test_curl(mail: RunningMail, certificate: DevelopmentCertificate, tmp_path: Path) -> None:
    mail.create(ALICE, BOB)
    ca = certificate.ca_file
    file = tmp_path / "mail.eml"
    file.write_bytes(encrypted_message(ALICE))
    login = ("--silent", "--show-error", "--cacert", ca, "--user", f"{ALICE}:{PASSWORD}")
    for mechanism in ("PLAIN", "LOGIN"):
        run(
            *("curl", *login, "--login-options", f"AUTH={mechanism}"),
            *("--mail-from", ALICE, "--mail-rcpt", BOB, "--mail-rcpt", ALICE, "--upload-file", file),
            f"smtps://{mail.host}:{mail.ports['submissions']}",
        )
    run(
        *("curl", *login, "--ssl-reqd", "--mail-from", ALICE, "--mail-auth", "<>", "--mail-rcpt", BOB),
        *("--upload-file", file, f"smtp://{mail.host}:{mail.ports['submission']}"),
    )
    assert stored(mail, BOB) == [encrypted_message(ALICE)] * 3
    imaps = f"imaps://{mail.host}:{mail.ports['imaps']}"
    assert run("curl", *login, f"{imaps}/INBOX;UID=1").stdout == encrypted_message(ALICE)
    assert b"\\HasNoChildren" in run("curl", *login, f"{imaps}/").stdout
    assert run("curl", *login, f"{imaps}/INBOX?UNSEEN").stdout == b"* SEARCH 2\r\n"
    run("curl", *login, "--upload-file", file, f"{imaps}/INBOX")
    assert len(stored(mail, ALICE)) == 3
    https = f"https://{mail.host}:{mail.ports['https']}"
    assert b"@chatmail.test" in run("curl", "-sS", "--cacert", ca, "--request", "POST", f"{https}/new").stdout
    head = run("curl", "-sS", "--cacert", ca, "--http1.0", "--head", f"{https}{AUTOCONFIG}").stdout
    assert head.startswith(b"HTTP/1.1 200")


@needs("swaks", "swaks")
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_swaks(mail: RunningMail, tmp_path: Path, mechanism: str) -> None:
    mail.create(ALICE, BOB)
    file = tmp_path / "mail.eml"
    file.write_bytes(encrypted_message(ALICE))
    login = ("--auth", mechanism, "--auth-user", ALICE, "--auth-password", PASSWORD)
    where = ("--server", mail.host, "--port", str(mail.ports["submission"]), "--tls")
    data = ("--from", ALICE, "--to", BOB, "--data", f"@{file}", "--suppress-data")
    run("swaks", *where, *login, *data)
    assert len(stored(mail, BOB)) == 1
    refused = run("swaks", *where, *login, *data[:4], "--body", "readable", expected=26)
    assert b"523 " in refused.stdout
    wrong = run("swaks", *where, *login[:5], "wrong password", *data, expected=28)
    assert b"535 " in wrong.stdout


@needs("msmtp", "msmtp")
@pytest.mark.parametrize("mechanism", ["plain", "login"])
def test_msmtp(
    mail: RunningMail, certificate: DevelopmentCertificate, tmp_path: Path, mechanism: str
) -> None:
    mail.create(ALICE, BOB)
    ca = certificate.ca_file
    configuration = tmp_path / "msmtprc"
    configuration.write_text(
        f"account default\nhost {mail.host}\nport {mail.ports['submissions']}\ntls on\ntls_starttls off\n"
        f"tls_trust_file {ca}\nauth {mechanism}\nuser {ALICE}\npassword {PASSWORD}\nfrom {ALICE}\n"
    )
    configuration.chmod(0o600)
    run("msmtp", "--file", configuration, BOB, given=encrypted_message(ALICE), home=tmp_path)
    assert len(stored(mail, BOB)) == 1


@needs("mbsync", "isync")
def test_mbsync_both_ways(mail: RunningMail, certificate: DevelopmentCertificate, tmp_path: Path) -> None:
    """What is new comes, what is read is marked, what is put there goes, and folders are made."""
    mail.create(ALICE, BOB)
    mail.send(ALICE, sender=BOB, marker="first")
    imap = mail.imap(ALICE)
    imap.create("Old/2026")
    imap.logout()
    ca = certificate.certificate_file  # of addresses it knows no names
    configuration = tmp_path / "mbsyncrc"
    configuration.write_text(
        f'IMAPAccount a\nHost {mail.host}\nPort {mail.ports["imaps"]}\nUser {ALICE}\nPass "{PASSWORD}"\n'
        f"SSLType IMAPS\nCertificateFile {ca}\n\nIMAPStore far\nAccount a\n\n"
        f"MaildirStore near\nPath {tmp_path}/box/\nInbox {tmp_path}/inbox\nSubFolders Verbatim\n\n"
        "Channel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\nSyncState *\n"
    )
    (tmp_path / "box").mkdir()
    run("mbsync", "-c", configuration, "-a", home=tmp_path)
    (arrived,) = (tmp_path / "inbox" / "new").iterdir()
    assert b"<first@chatmail.test>" in arrived.read_bytes()
    assert (tmp_path / "box" / "Old" / "2026" / "cur").is_dir()
    arrived.rename(tmp_path / "inbox" / "cur" / f"{arrived.name.partition(':')[0]}:2,S")
    (tmp_path / "inbox" / "new" / "mine").write_bytes(b"Subject: mine\n\nbody\n")
    run("mbsync", "-c", configuration, "-a", home=tmp_path)
    imap = mail.imap(ALICE)
    imap.select()
    assert imap.search(None, "SEEN")[1] == [b"1"]
    assert imap.search(None, "SUBJECT", "mine")[1] == [b"2"]
    imap.logout()


@needs("s-nail", "s-nail")
def test_s_nail_sends_and_reads(start_mail: StartMail, tmp_path: Path) -> None:
    mail = start_mail(dialect=Dialect.CHATMAIL, passthrough_senders=frozenset({ALICE}))
    mail.create(ALICE, BOB)
    user = ALICE.replace("@", "%40")
    secret = PASSWORD.replace(" ", "%20")
    run(
        *("s-nail", "-:/", "-Sv15-compat", "-Ssmtp-auth=plain", "-Stls-verify=ignore", f"-Sfrom={ALICE}"),
        f"-Smta=smtps://{user}:{secret}@{mail.host}:{mail.ports['submissions']}",
        *("-s", "hello", BOB),
        given=b"from s-nail\n",
        home=tmp_path,
    )
    (content,) = stored(mail, BOB)
    assert b"from s-nail" in content
    bob = BOB.replace("@", "%40")
    listed = run(
        *("s-nail", "-:/", "-Sv15-compat", "-Stls-verify=ignore", "-Simap-auth=login", "-H"),
        *("-f", f"imaps://{bob}:{secret}@{mail.host}:{mail.ports['imaps']}/INBOX"),
        home=tmp_path,
    )
    assert b"alice_123" in listed.stdout
