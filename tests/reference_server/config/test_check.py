"""check-config: what does not fit together, as the command says it."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from reference_server.certificate_pair import server_tls
from reference_server.config.check_config import main
from reference_server.config.files import load
from reference_server.errors import ConfigurationError
from reference_server.tls import issue_development_certificate
from tests.quick_starts import quick_command

EXCERPTS = Path(__file__).parents[2] / "fixtures" / "config"

IROH = "imap {\n iroh_relay_url http://127.0.0.1:3340\n}\n"
RELAY = 'http_bind_addr = "127.0.0.1:3340"\nenable_metrics = false\nenable_stun = false\n'
TURN = """imap {
 turn_enable yes
 turn_server 127.0.0.1
 turn_secret secret
}
turn udp://127.0.0.1:3478 {
 realm chatmail.test
 secret secret
}
"""


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    """Write the files and run the command among them: exit code and lines without the last, which counts."""
    monkeypatch.chdir(tmp_path)

    def check(conf=None, toml=None, *options):
        names = []
        for name, text in (("maddy.conf", conf), ("iroh-relay.toml", toml)):
            if text is not None:
                Path(name).write_text(text)
                names.append(name)
        code = main([*options, *names])
        *lines, count = capsys.readouterr().out.splitlines()
        assert count.startswith("errors: ") or code == 1
        return code, lines if count.startswith("errors: ") else [*lines, count]

    return check


def test_files_that_fit_are_clean(check):
    assert check(IROH, RELAY) == (0, [])
    assert check(IROH.replace("127.0.0.1", "$(public_ip)"), RELAY) == (0, [])
    assert check(toml=RELAY) == (0, [])
    assert check(TURN) == (0, [])
    free = 'http_bind_addr = "127.0.0.1:0"\nmetrics_bind_addr = "127.0.0.1:0"\nenable_stun = false\n'
    assert check(toml=free) == (0, [])


def test_every_problem_of_the_relays_file_is_told_with_its_line(check):
    toml = (
        RELAY
        + 'first = 1\nenable_relay = 7\n\n[tls]\ncert_mode = "Manual"\nsecond = 2\n[access]\n# third =\nthird = 3\n'
    )
    code, findings = check(toml=toml)
    assert code == 1
    assert [each.partition(" known here")[0] for each in findings] == [
        "iroh-relay.toml:4: warning: first: unknown key, passed over;",
        "iroh-relay.toml:5: error: enable_relay: expected true or false, found 7",
        "iroh-relay.toml:9: warning: tls.second: unknown key, passed over;",
        "iroh-relay.toml:12: error: access.third: unknown key;",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[tls]\nfoo = 1\n[access.http]\nurl = 7", 4),
        ("[tls]\nfoo = 1\n[access.http]\nurl = 'http://'", 4),
        ("access = { http = { url = 7 } }", 1),
        ("\n[access.http]\nbearer_token = 'x'", 2),
        ("\n\n[tls]\n'cert_mode' = 'None'", 4),
        ("\n[tls]\ncontact = 'x'", 2),
    ],
)
def test_lines_are_those_of_keys_in_their_own_table(text, line, check):
    _code, findings = check(toml=text)
    assert f"iroh-relay.toml:{line}: error" in "\n".join(findings).replace("tls.foo", "")


def test_warnings_alone_are_no_failure(check):
    sentence = "turn is served and not advertised: imap has no turn_enable yes"
    imap, turn = TURN.split("turn udp")
    before = f"turn udp{turn}{imap.replace('turn_enable yes', 'turn_enable no')}"
    assert check(before) == (0, [f"maddy.conf:1: warning: {sentence}"])


def test_a_secret_in_turn_offers_turn_as_madmail_does(check):
    """It has one switch, which `turn_enable` and a secret in `turn` both set; the later line stands."""
    assert check(TURN.replace(" turn_enable yes\n", "")) == (0, [])
    sentence = "turn_enable says no, and madmail offers TURN all the same: turn has a secret below"
    assert check(TURN.replace("turn_enable yes", "turn_enable Disabled")) == (
        0,
        [f"maddy.conf:2: warning: {sentence}"],
    )


@pytest.mark.parametrize("word", ["Yes", "enable", "ENABLED", "1", "t", "on", "y", ""])
def test_every_yes_of_madmail_is_one(word, check):
    assert check(TURN.replace("turn_enable yes", f"turn_enable {word}")) == (0, [])


@pytest.mark.parametrize("name", ["madmail-install.conf", "madmail-docker.conf", "maddy-forms.conf"])
def test_files_as_they_are_in_the_world_are_read_with_warnings_alone(name, check, tmp_path):
    issued = issue_development_certificate(tmp_path / "made", ["127.0.0.1"])
    issued.certificate_file.rename(tmp_path / "fullchain.pem")
    issued.key_file.rename(tmp_path / "privkey.pem")
    code, findings = check((EXCERPTS / name).read_text())
    assert code == 0, findings
    assert all(": warning: " in each for each in findings)


@pytest.mark.parametrize(
    ("conf", "toml", "line"),
    [
        (
            IROH.replace("3340", "3341"),
            RELAY,
            "maddy.conf:2: error: iroh_relay_url http://127.0.0.1:3341: "
            "the relay of iroh-relay.toml listens on 127.0.0.1:3340",
        ),
        (
            IROH.replace(":3340", ""),
            RELAY,
            "maddy.conf:2: error: iroh_relay_url http://127.0.0.1: "
            "the relay of iroh-relay.toml listens on 127.0.0.1:3340",
        ),
        (
            IROH,
            RELAY + "enable_relay = false",
            "maddy.conf:2: error: iroh_relay_url http://127.0.0.1:3340: iroh-relay.toml says enable_relay = false",
        ),
        (
            IROH.replace("http:", "https:"),
            RELAY,
            "maddy.conf:2: warning: iroh_relay_url https://127.0.0.1:3340: the relay has no tls here, so a proxy in "
            "front of it must have it",
        ),
        (
            IROH.replace("http:", "https:"),
            None,
            "maddy.conf:2: warning: iroh_relay_url https://127.0.0.1:3340: the relay has no tls here, so a proxy in "
            "front of it must have it",
        ),
        (
            IROH.replace("127.0.0.1", "192.0.2.9"),
            None,
            "maddy.conf:2: warning: iroh_relay_url is on 192.0.2.9, this server's relay on 127.0.0.1",
        ),
        (
            "imap {\n}\n",
            RELAY,
            "maddy.conf:1: warning: there is no iroh_relay_url: the relay of iroh-relay.toml is advertised",
        ),
        (
            TURN.replace("turn_server 127.0.0.1", "turn_port 443"),
            None,
            "maddy.conf:3: error: turn_port 443 is advertised, and turn has no udp:// listener there",
        ),
        (
            TURN.replace(" turn_server 127.0.0.1\n", ""),
            None,
            "maddy.conf:1: warning: there is no turn_server: METADATA names 127.0.0.1",
        ),
        (
            TURN.replace("\n secret secret", "\n secret other"),
            None,
            "maddy.conf:4: error: turn_secret is not the secret at maddy.conf:8: no credentials would work",
        ),
        (
            TURN.replace(" realm chatmail.test\n", ""),
            None,
            "maddy.conf:6: warning: turn has no realm: it is 127.0.0.1",
        ),
        (
            TURN.replace(" realm", " relay_port_min 50000\n relay_port_max 40000\n realm"),
            None,
            "maddy.conf:7: error: relay_port_min is above relay_port_max",
        ),
        (
            TURN.replace(" turn_secret secret\n", "").replace(" secret secret\n", ""),
            None,
            "maddy.conf:2: warning: turn_enable needs turn_secret: there is no TURN",
        ),
        (
            TURN.replace(" realm", " tls file here.pem here.pem\n realm"),
            None,
            "maddy.conf:7: error: turn has tls, and no address tls://...: nothing answers there",
        ),
        (
            TURN.replace("udp://127.0.0.1:3478", "udp://127.0.0.1:3478 tls://127.0.0.1:5349"),
            None,
            "maddy.conf:6: warning: turn has an address tls://... and no tls: it has the certificate of mail",
        ),
        (
            TURN.replace(
                "turn_server 127.0.0.1", "turn_server 127.0.0.1\n turn_port 5349\n turn_prefer_tls yes"
            ).replace("udp://127.0.0.1:3478", "tls://127.0.0.1:5349"),
            None,
            "maddy.conf:8: error: turn has no udp:// listener: Delta Chat asks TURN servers over UDP only",
        ),
        (
            TURN.replace("turn_server 127.0.0.1", "turn_server 2001:db8::1"),
            None,
            "maddy.conf:3: error: turn_server 2001:db8::1: expected a name or an IPv4 address, "
            "METADATA carries no other",
        ),
        (
            TURN.replace("udp://127.0.0.1", "udp://turn.example.org"),
            None,
            "maddy.conf:6: error: udp://turn.example.org:3478: turn listens on IP addresses, not on names",
        ),
        (
            TURN.replace(" realm", " relay_ip 0.0.0.0\n realm"),
            None,
            "maddy.conf:7: warning: relay_ip 0.0.0.0 is no address that clients could send to",
        ),
        (
            TURN.partition("turn udp")[0],
            None,
            "maddy.conf:2: warning: TURN is offered at 127.0.0.1:3478, and there is no turn endpoint here",
        ),
        (
            TURN,
            RELAY.replace("enable_stun = false", "enable_stun = true"),
            "iroh-relay.toml:3: error: the relay (enable_stun) takes UDP port 3478, "
            "which turn takes too (maddy.conf:6)",
        ),
        (
            "imap tls://0.0.0.0:443 { }\nchatmail tls://127.0.0.1:443 { }",
            None,
            "maddy.conf:2: error: web takes TCP port 443, which imap takes too (maddy.conf:1)",
        ),
        ("tls file gone.pem gone.key", None, "maddy.conf:1: error: there is no file gone.pem"),
        (
            None,
            RELAY + '[tls]\ncert_mode = "Manual"\nmanual_cert_path = "gone.pem"\n',
            "iroh-relay.toml:6: error: there is no file gone.pem",
        ),
        (
            "imap tls://192.0.2.7:993 { }",
            None,
            "maddy.conf:1: warning: tls://192.0.2.7:993: the server listens on 127.0.0.1 (--host) instead",
        ),
        ("imap {\n", None, "maddy.conf:1: warning: this block has no '}': it goes on to the end of the file"),
        (
            TURN.replace(" turn_server", " turn_port 50000\n turn_server").replace(
                "127.0.0.1:3478", "127.0.0.1:50000"
            ),
            None,
            "maddy.conf:3: error: turn_port 50000 is one of the ports of relayed addresses, 49152 to 65535",
        ),
        (
            None,
            "enable_relay = true\nenable_stun = 1\n",
            "iroh-relay.toml:2: error: enable_stun: expected true or false, found 1",
        ),
        (
            None,
            RELAY + "[limits]\naccept_conn_burst = 5\n",
            "iroh-relay.toml:5: warning: limits.accept_conn_burst is not served by this test server",
        ),
        (
            None,
            '[access.http]\nurl = "http://127.0.0.1:1"\nbearer_token = 7777777\n',
            "iroh-relay.toml:3: error: access.http.bearer_token: expected a string",
        ),
        (
            None,
            "\nenable_relay = yes\n",
            "iroh-relay.toml:2: error: this is not TOML: Invalid value (at line 2, column 16)",
        ),
    ],
)
def test_what_does_not_fit(check, conf, toml, line):
    code, lines = check(conf, toml)
    assert line in lines
    assert code == any(": error: " in each for each in lines)


def test_the_same_with_tls_on_the_relay(check):
    issued = issue_development_certificate(Path("made"), ["127.0.0.1"])
    Path("cert.pem").write_bytes(issued.certificate_file.read_bytes() + issued.key_file.read_bytes())
    tls = (
        RELAY.replace("3340", "3339")
        + '[tls]\ncert_mode = "Manual"\nhttps_bind_addr = "127.0.0.1:3340"\n'
        + 'manual_cert_path = "cert.pem"\nmanual_key_path = "cert.pem"\n'
    )
    assert check(IROH.replace("http:", "https:"), tls) == (0, [])
    assert check(IROH, tls)[1] == [
        "maddy.conf:2: error: iroh_relay_url http://127.0.0.1:3340: "
        "iroh-relay.toml has tls: relaying is https only"
    ]


def test_findings_name_the_document_s_own_gaps():
    """The excerpt about TURN asks for TLS without an address for it, and its certificate is a placeholder."""
    ended = run("turn.maddy.conf", "iroh-relay.toml")
    assert ended.returncode == 1
    assert ended.stdout.splitlines() == [
        "turn.maddy.conf:1: warning: there is no iroh_relay_url: the relay of iroh-relay.toml is advertised",
        "turn.maddy.conf:5: error: turn_port 443 is advertised (turn_prefer_tls), "
        "and turn has no tls:// listener there",
        "turn.maddy.conf:17: error: turn has tls, and no address tls://...: nothing answers there",
        "turn.maddy.conf:17: error: there is no file /path/to/cert.pem",
        "turn.maddy.conf:17: error: there is no file /path/to/key.pem",
        "errors: 4, warnings: 1",
    ]


def run(*arguments):
    return subprocess.run(
        quick_command("reference_server.__main__", "check-config", *map(str, arguments)),
        cwd=EXCERPTS,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--host", "203.0.113.5", "iroh.maddy.conf", "iroh-relay.toml"], 0, "errors: 0, warnings: 0"),
        ([], 2, "FILE"),
        (["iroh.maddy.conf", "turn.maddy.conf"], 2, "one maddy.conf and one iroh-relay.toml at most"),
        (["nowhere.conf"], 2, "nowhere.conf cannot be read: No such file or directory"),
        (["--host", "chat.example", "iroh.maddy.conf"], 2, "'chat.example' is no IP address"),
        (["."], 2, ". cannot be read: Is a directory"),
    ],
)
def test_exit_codes_of_the_command(arguments, code, words):
    ended = run(*arguments)
    assert ended.returncode == code
    assert words in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"x = {'[' * 5000}", "arrays or tables are nested too deep"),
        (f"x = {'{a=' * 3000}", "arrays or tables are nested too deep"),
        (f"[limits]\naccept_conn_limit = {'9' * 5000}", "a number is too large"),
    ],
)
def test_a_file_that_is_too_much_for_the_parser_is_told_in_a_sentence(check, text, words):
    code, lines = check(toml=text)
    assert code == 1
    assert lines == [f"iroh-relay.toml:1: error: {words}"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("listening-port=3478\nstatic-auth-secret=north\n", "listening-port"),
        ("[params]\nmail_domain = chat.example\n", "[params]"),
        ('{"a": 1}\n', '{"a":'),
        ("turn-\x1b[31m x\n", r"turn-\x1b[31m"),
    ],
    ids=["turnserver.conf", "chatmail.ini", "JSON", "a sequence for a terminal"],
)
def test_a_file_of_another_kind_is_told_by_what_stands_there(check, text, found):
    code, lines = check(text)
    assert code == 1
    [line] = lines
    assert line.startswith("maddy.conf:1: error: expected the name of a directive of maddy.conf")
    assert line.endswith(f"found {found!r}" if "x1b" not in found else f"found '{found}'")


def test_what_a_file_has_reaches_the_terminal_short_and_as_text(check):
    code, [line] = check(f"imap tls://127.0.0.1:993 {{\n turn_port {'9' * 5000}\n}}\n")
    assert (code, len(line) < 700) == (0, True)
    assert line.endswith("9'; passed over")
    _, lines = check("imap tls://\x1b[31m:993 {\n}\ntls file \x1b]0;x /k\n")
    assert lines and not any("\x1b" in each for each in lines)


def test_a_file_that_does_not_end_is_read_as_far_as_one_may_go(capsys):
    assert main(["/dev/zero"]) == 1
    assert "more than 262144 characters" in capsys.readouterr().out


def test_a_file_may_be_a_pipe(tmp_path):
    """As `check-config <(...)` of a shell: it can be read once."""
    pipe = tmp_path / "iroh-relay.toml"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as pool:
        pool.submit(pipe.write_text, "enable_rely = true\n")
        assert [each.place.line for each in load([pipe]).findings()] == [1]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    directory = tmp_path_factory.mktemp("pairs")
    issued = issue_development_certificate(directory, ["127.0.0.1"])
    key = load_pem_private_key(issued.key_file.read_bytes(), None)
    locked = directory / "locked.pem"
    locked.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password"))
    )
    return {
        "the key does not belong to the certificate": (issued.ca_file, issued.key_file),
        "they are not a certificate and a key in PEM form": (issued.key_file, issued.certificate_file),
        "the key has a password": (issued.certificate_file, locked),
    }


@pytest.mark.parametrize("problem", ["the key does not", "they are not", "the key has a password"])
def test_a_pair_that_no_server_can_use_is_an_error_at_its_line(problem, pairs, check):
    words, (certificate, key) = next(each for each in pairs.items() if each[0].startswith(problem))
    code, [line] = check(f"tls file {certificate} {key}\n")
    assert code == 1
    assert line.startswith("maddy.conf:1: error: ") and line.endswith(f"cannot be used: {words}")
    with pytest.raises(ConfigurationError, match=words):
        server_tls(certificate, key)
