"""Programs that fetch mail, as Debian has them: offlineimap, getmail and fetchmail."""

from __future__ import annotations

from pathlib import Path

from reference_server.certificates import DevelopmentCertificate
from tests.reference_server.mail.running import ALICE, BOB, PASSWORD, RunningMail
from tests.reference_server.mail.test_debian_clients import needs, run

FIRST, SECOND = b"<first@chatmail.test>", b"<second@chatmail.test>"
NAMED = "localhost"
"""The server: some of them look for no address in a certificate."""


def two_mails(mail: RunningMail) -> None:
    mail.create(ALICE, BOB)
    mail.send(ALICE, sender=BOB, marker="first")
    mail.send(ALICE, sender=BOB, marker="second")


def left(mail: RunningMail) -> int:
    imap = mail.imap(ALICE)
    (count,) = imap.select()[1]
    imap.logout()
    return int(count or 0)


@needs("offlineimap", "offlineimap3")
def test_offlineimap_both_ways(
    mail: RunningMail, certificate: DevelopmentCertificate, tmp_path: Path
) -> None:
    """What is new comes, what is read is marked, and what was put there goes."""
    two_mails(mail)
    configuration = tmp_path / "offlineimaprc"
    configuration.write_text(
        "[general]\naccounts = a\nui = quiet\nmetadata = " + str(tmp_path / "metadata") + "\n\n"
        "[Account a]\nlocalrepository = near\nremoterepository = far\n\n"
        f"[Repository near]\ntype = Maildir\nlocalfolders = {tmp_path / 'box'}\n\n"
        f"[Repository far]\ntype = IMAP\nremotehost = {NAMED}\nremoteport = {mail.ports['imaps']}\n"
        f"ssl = yes\nsslcacertfile = {certificate.ca_file}\nremoteuser = {ALICE}\nremotepass = {PASSWORD}\n"
        "tls_level = tls_compat\nauth_mechanisms = PLAIN\n"
    )
    run("offlineimap", "-c", configuration, "-o", home=tmp_path)
    inbox = tmp_path / "box" / "INBOX"
    arrived = sorted((inbox / "new").iterdir())
    assert {FIRST, SECOND} == {
        marker for marker in (FIRST, SECOND) for each in arrived if marker in each.read_bytes()
    }
    arrived[0].rename(inbox / "cur" / f"{arrived[0].name.partition(':')[0]}:2,S")
    (inbox / "new" / "mine").write_bytes(b"From: <a@b.example>\nSubject: mine\n\nbody\n")
    run("offlineimap", "-c", configuration, "-o", home=tmp_path)
    imap = mail.imap(ALICE)
    imap.select()
    assert len((imap.search(None, "SEEN")[1][0] or b"").split()) == 1
    assert imap.search(None, "SUBJECT", "mine")[1] == [b"3"]
    imap.logout()


@needs("getmail", "getmail6")
def test_getmail_takes_all_and_deletes(
    mail: RunningMail, certificate: DevelopmentCertificate, tmp_path: Path
) -> None:
    two_mails(mail)
    box = tmp_path / "arrived"
    (tmp_path / "getmailrc").write_text(
        f"[retriever]\ntype = SimpleIMAPSSLRetriever\nserver = {NAMED}\nport = {mail.ports['imaps']}\n"
        f"username = {ALICE}\npassword = {PASSWORD}\nca_certs = {certificate.ca_file}\n\n"
        "[destination]\ntype = MDA_external\npath = /usr/bin/tee\nallow_root_commands = true\n"
        f'arguments = ("-a", "{box}")\n\n[options]\ndelete = true\nread_all = true\n'
    )
    run("getmail", "--getmaildir", tmp_path, "--rcfile", "getmailrc", home=tmp_path)
    assert [box.read_bytes().count(marker) for marker in (FIRST, SECOND)] == [1, 1]
    assert left(mail) == 0


@needs("fetchmail", "fetchmail")
def test_fetchmail_takes_what_is_new(
    mail: RunningMail, certificate: DevelopmentCertificate, tmp_path: Path
) -> None:
    two_mails(mail)
    box = tmp_path / "arrived"
    configuration = tmp_path / "fetchmailrc"
    configuration.write_text(
        f'poll {NAMED} protocol imap service {mail.ports["imaps"]}\n  username "{ALICE}" password "{PASSWORD}"\n'
        f'  ssl sslcertfile "{certificate.ca_file}" sslcertck keep\n  mda "cat >> {box}"\n'
    )
    configuration.chmod(0o600)
    fetch = ("fetchmail", "--fetchmailrc", configuration, "--pidfile", tmp_path / "pid")
    run(*fetch, home=tmp_path)
    assert [box.read_bytes().count(marker) for marker in (FIRST, SECOND)] == [1, 1]
    run(*fetch, home=tmp_path, expected=1)  # there is nothing new
    assert left(mail) == 2
