"""maddy.conf: the excerpts of the documents, the language, and the words for what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_server.config import maddy, relay
from reference_server.config.directives import CertificateFiles, Listener
from reference_server.config.findings import Place, Severity
from reference_server.config.maddy import Imap, MaddyConfig, Turn, TurnOffer
from reference_server.config.maddy_syntax import MAX_ARGUMENT, MAX_NESTING
from reference_server.errors import ConfigurationError
from reference_server.iroh_relay.access import Everyone
from reference_server.iroh_relay.config import SocketAddress

EXCERPTS = Path(__file__).parents[2] / "fixtures" / "config"
"""The configuration of both documents, byte for byte."""


def place(line, file="maddy.conf"):
    return Place(file, line)


def read(text, **options):
    return maddy.read(text, "maddy.conf", **options)


def found(text, **options):
    """The findings of a text, or the one that ends the reading, as `line: severity: sentence`."""
    try:
        findings = [str(finding) for finding in read(text, **options).findings]
    except ConfigurationError as error:
        findings = str(error).splitlines()
    assert all(line.startswith("maddy.conf:") for line in findings)
    return [line.removeprefix("maddy.conf:") for line in findings]


def test_variables_of_the_environment_are_read(monkeypatch):
    monkeypatch.setenv("MADDY_DOMAIN", "example.org")
    config = read("$(primary_domain) = {env:MADDY_DOMAIN}\nhostname mail.{env:MADDY_DOMAIN}")
    assert (config.domain, config.hostname, config.findings) == ("example.org", "mail.example.org", ())


def test_an_endpoint_in_two_blocks_is_one():
    config = read(
        "imap tls://0.0.0.0:993 {\n auth &a\n turn_port 7\n}\nimap tcp://127.0.0.1:143 {\n auth &a\n turn_port 7\n}"
    )
    assert config.imap is not None
    assert [str(each) for each in config.imap.listeners] == ["tls://0.0.0.0:993", "tcp://127.0.0.1:143"]
    assert config.imap.turn.port == 7


def test_relay_ports_of_turn():
    assert read("turn {\n secret s\n}").turn.relay_ports is None
    assert read("turn {\n relay_port_min 50000\n relay_port_max 50100\n}").turn.relay_ports == (50000, 50100)
    assert read("turn {\n relay_port_max 50100\n}").turn.relay_ports == (49152, 50100)


@pytest.mark.parametrize(
    "text", ["tls file c.pem k.pem", "tls file c.pem k.pem {\n protocols tls1.2 tls1.3\n}"]
)
def test_certificates_by_file_may_have_a_block(text):
    assert read(text).tls == CertificateFiles(Path("c.pem"), Path("k.pem"), place(1))


# The contracts


def test_the_excerpt_about_iroh():
    path = EXCERPTS / "iroh.maddy.conf"
    config = maddy.load(path, public_ip="203.0.113.5")
    assert config == MaddyConfig(
        str(path),
        public_ip="203.0.113.5",
        imap=Imap((), None, place(1, str(path)), iroh_relay_url="http://203.0.113.5:3340"),
    )


def test_the_excerpt_about_turn():
    path = EXCERPTS / "turn.maddy.conf"
    secret = "راز-مشترک-شما"
    where = str(path)
    assert maddy.load(path) == MaddyConfig(
        where,
        public_ip="127.0.0.1",
        imap=Imap(
            (),
            None,
            place(1, where),
            turn=TurnOffer(
                enabled=True, server="turn.example.com", port=443, secret=secret, ttl=86400, prefer_tls=True
            ),
        ),
        turn=Turn(
            (Listener("udp", "", 3478, place(11, where)), Listener("tcp", "", 3478, place(11, where))),
            CertificateFiles(Path("/path/to/cert.pem"), Path("/path/to/key.pem"), place(17, where)),
            place(11, where),
            realm="example.com",
            secret=secret,
            relay_ip="1.2.3.4",
            asks_for_tls=True,
        ),
    )


@pytest.mark.parametrize(
    ("offer", "endpoint", "ports"),
    [
        ("turn_port 7", "turn udp://:7 tls://:9 { }", (7, 9)),
        ("turn_port 7", "turn udp://:7 { }", (7, None)),
        ("turn_port 9\n turn_prefer_tls", "turn udp://:7 tls://:9 { }", (7, 9)),
        ("turn_port 7", "", (7, None)),
        ("turn_port 9\n turn_prefer_tls", "", (3478, 9)),
    ],
)
def test_turn_keeps_a_port_that_answers_udp(offer, endpoint, ports):
    config = read(f"imap {{\n {offer}\n}}\n{endpoint}")
    assert config.imap is not None
    assert config.imap.turn.ports(config.turn) == ports


def test_the_excerpt_of_iroh_relay_toml():
    file = relay.load(EXCERPTS / "iroh-relay.toml")
    assert file.config.http_bind_addr == SocketAddress("::", 3340)
    assert (file.config.enable_relay, file.config.enable_stun, file.config.enable_metrics) == (
        True,
        False,
        False,
    )
    assert file.config.access == Everyone()
    assert 'http_bind_addr = "127.0.0.7:3340"' in file.text_for("127.0.0.7")
    assert 'http_bind_addr = "[::1]:3340"' in file.text_for("::1")


def test_a_secret_is_in_no_text_that_people_see():
    config = maddy.load(EXCERPTS / "turn.maddy.conf")
    assert "راز" not in repr(config)
    wrong = read('imap { turn_secret "one" "two" }\nturn { realm r\n secret three four }')
    texts = " ".join(map(str, wrong.findings))
    assert not [
        word for word in ("one", "two", "three", "four") if f"'{word}" in texts or f"{word}'" in texts
    ]


# The language


def url_of(text, **options):
    config = read(text, **options)
    assert config.imap is not None and not config.findings
    return config.imap.iroh_relay_url


@pytest.mark.parametrize(
    "text",
    [
        "imap {\n iroh_relay_url http://127.0.0.1:1\n}\n",
        "imap {\r\n iroh_relay_url http://127.0.0.1:1\r\n}\r\n",
        "\ufeffimap { iroh_relay_url http://127.0.0.1:1 }",
        'endpoint.imap imap {\n\n # c { " \n iroh_relay_url "http://127.0.0.1:1" # c\n} # end',
        "imap {\n iroh_relay_url \\\n http://127.0.0.1:1\n}",
        "imap {\n iroh_relay_url \\ # and on the next line\n http://127.0.0.1:1 }",
        "imap { iroh_relay_url http://$(public_ip):1 }",
        "$(port) = 1\n$(url) = http://$(public_ip):$(port)\nimap { iroh_relay_url $(url) }",
        '$(port) = 1\nimap { iroh_relay_url "http://127.0.0.1:$(port)" }',
        "$(port) = 2\n$(port) = 1\nimap { iroh_relay_url http://127.0.0.1:$(port) }\n$(port) = 3",
    ],
)
def test_ways_to_write_the_same(text):
    assert url_of(text) == "http://127.0.0.1:1"


def test_the_host_given_is_public_ip_whatever_the_file_says():
    text = "$(public_ip) = 192.0.2.1\nimap { iroh_relay_url http://$(public_ip):1 }"
    assert url_of(text) == "http://192.0.2.1:1"
    assert read(text).public_ip == "192.0.2.1"
    assert url_of(text, public_ip="127.0.0.2") == "http://127.0.0.2:1"


def test_quotes_keep_spaces_and_escaped_quotes():
    config = read('turn { realm r\n secret "a \\"b\\" \\ c" }')
    assert config.turn is not None and config.turn.secret == 'a "b" \\ c'


def test_addresses_certificates_and_domain():
    config = read(
        "$(primary_domain) = example.org\n"
        "tls file cert.pem key.pem\n"
        "imap tls://0.0.0.0:2993 tcp://[::]:2143 { }\n"
        "submission tls://$(public_ip):2465 { }\n"
        "chatmail tcp://0.0.0.0:80 { mail_domain example.org }\n"
        "chatmail tls://0.0.0.0:2443 {\n mail_domain chat.example\n tls file other.pem other.key\n}\n"
    )
    assert config.imap and config.submission and config.web
    assert (config.imap.port("tls"), config.imap.port("tcp")) == (2993, 2143)
    assert str(config.imap.listeners[1]) == "tcp://[::]:2143"
    assert config.submission.listeners[0].host == "127.0.0.1"
    assert config.submission.port("tcp") is None
    assert config.web.port("tls") == 2443
    assert config.tls == CertificateFiles(Path("cert.pem"), Path("key.pem"), place(2))
    assert config.web.tls == CertificateFiles(Path("other.pem"), Path("other.key"), place(8))
    assert config.domain == "chat.example"
    assert [str(finding) for finding in config.findings] == [
        "maddy.conf:5: warning: tcp://0.0.0.0:80: plain HTTP is not served"
    ]


def test_smtp_is_an_endpoint():
    config = read(
        "smtp tcp://0.0.0.0:2525 {\n limits {\n }\n tls file a.pem a.key\n}\nsmtp tcp://0.0.0.0:2526 { }"
    )
    assert config.smtp is not None
    assert [each.port for each in config.smtp.listeners] == [2525, 2526]
    assert config.smtp.tls == CertificateFiles(Path("a.pem"), Path("a.key"), place(4))
    assert [str(each) for each in read("smtp tcp://0.0.0.0 { }").smtp.listeners] == ["tcp://0.0.0.0:25"]


@pytest.mark.parametrize(
    "text",
    [
        "(of_imap) {\n iroh_relay_url http://$(public_ip):1\n}\nimap {\n import of_imap\n}",
        "imap {\n import a\n}\n(b) {\n iroh_relay_url http://127.0.0.1:1\n}\n(a) {\n import b\n}",
        "(top) {\n imap { iroh_relay_url http://127.0.0.1:1 }\n}\nimport top",
    ],
)
def test_a_snippet_is_what_import_brings(text):
    config = read(text)
    assert {str(each.severity) + each.sentence for each in config.findings} == {
        "warning" + "import is read as in maddy and madmail 1; madmail 2 passes over it"
    }
    assert config.imap is not None and config.imap.iroh_relay_url == "http://127.0.0.1:1"


def test_a_file_is_what_import_brings(tmp_path):
    (tmp_path / "more").mkdir()
    main = tmp_path / "maddy.conf"
    main.write_text("import more/macros\nimap {\n import more/imap.conf\n}\n")
    (tmp_path / "more" / "macros.conf").write_text("$(port) = 7\n(s) {\n turn_ttl 60\n}\n")
    (tmp_path / "more" / "imap.conf").write_text("turn_port $(port)\nimport s\nnonsense\n")
    config = maddy.load(main)
    assert config.imap is not None
    assert (config.imap.turn.port, config.imap.turn.ttl) == (7, 60)
    [unknown] = [each for each in config.findings if "nonsense" in each.sentence]
    assert unknown.place == Place(f"{tmp_path}/more/imap.conf", 3)


@pytest.mark.parametrize("content", [b"imap {\n }\n}\n", b"\xff", b"x" * 2_000_000, b"import self"])
def test_a_file_that_cannot_be_imported_has_a_place(content, tmp_path):
    (tmp_path / "self").write_bytes(content)
    main = tmp_path / "maddy.conf"
    main.write_text("log off\nimport self\n")
    with pytest.raises(ConfigurationError, match=rf"{tmp_path}/(self|maddy.conf):\d: error: "):
        maddy.load(main)


def test_imports_that_multiply_come_to_an_end():
    snippets = "".join(f"(s{n}) {{\n import s{n + 1}\n import s{n + 1}\n}}\n" for n in range(40))
    with pytest.raises(ConfigurationError, match="imports"):
        read(snippets + "import s0\n")


# What is wrong, and where


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("imap {\n", "1: warning: this block has no '}': it goes on to the end of the file"),
        ("imap {\n tls {\n loader", "1: warning: this block has no '}': it goes on to the end of the file"),
        ("\n}\n", "2: error: expected a word or the end of the file, found '}'"),
        ("imap { } smtp", "1: error: expected the end of the file or the end of the line, found a word"),
        ('\n\nlog "stderr\n', "3: warning: the quoted string does not end: all that follows in the file is in it"),
        ('log "a\nb" c\nimap {', "1: warning: the quoted string ends in line 2"),
        (
            "1st x",
            "1: error: expected the name of a directive of maddy.conf: letters, digits, '.', '-' and '_', "
            "found '1st'",
        ),
        ("$(x) 1", "1: error: expected the definition of a macro: $(name) = one or more words"),
        ("$(x) =", "1: error: expected the definition of a macro: $(name) = one or more words"),
        ("imap {\n $(x) = 1\n}", "2: error: macros are defined outside of every block only"),
        ("imap {\n iroh_relay_url http://$(ip):1\n}",
         "2: warning: the macro $(ip) is not defined: the word stays as it is"),
        ("$(a) = 1 2\nimap { turn_port 1$(a) }", "2: error: the macro $(a) has 2 values; one word takes one"),
        ("imap {\n turn_port {env:NO_SUCH}\n}", "2: warning: the environment has no variable NO_SUCH: "
                                                 "it stands for nothing here"),
        ("$(b) = $(c)", "1: warning: the macro $(c) is not defined: it stands for nothing here"),
        ("imap {\n (s) {\n}\n}", "2: warning: (s) is no snippet: (name) { ... } at the top; passed over"),
        ("import", "1: warning: import: expected the name of a snippet or of a file; passed over"),
        ("import x", "1: warning: import: there is no snippet and no file 'x'; passed over"),
        ("(a) {\n import a\n}\nimport a", "2: error: imports within imports are more than 16 deep"),
        ("imap {\n turn_port 70000\n}",
         "2: warning: turn_port: expected a whole number from 1 to 65535, found '70000'; passed over"),
        ("imap {\n turn_port ٣\n}",
         "2: warning: turn_port: expected a whole number from 1 to 65535, found '٣'; passed over"),
        ("imap {\n turn_enable maybe\n}", "2: warning: turn_enable: expected yes or no, found 'maybe'; passed over"),
        ("imap {\n iroh_relay_url 127.0.0.1:1\n}",
         "2: warning: iroh_relay_url: expected a URL like http://192.0.2.1:3340, found '127.0.0.1:1'; passed over"),
        ("turn {\n relay_ip example.com\n}",
         "2: warning: relay_ip: expected an IP address, found 'example.com'; passed over"),
        ("imap {\n turn_port 1\n turn_port 2\n}", "2: warning: turn_port stands in line 3 once more: that one counts"),
        ("imap {\n turn_port 1\n}\nimap {\n turn_port 2\n}",
         "2: warning: turn_port stands in line 5 once more: that one counts"),
        ("imap udp://0.0.0.0:143 { }",
         "1: warning: expected an address tcp://ADDRESS:PORT or tls://ADDRESS:PORT, found "
         "'udp://0.0.0.0:143'; passed over"),
        ("imap tls://0.0.0.0 { }", "1: warning: tls://0.0.0.0: there is no port, so it is 993"),
        ("tls file only.pem", "1: error: tls: expected 'file CERT KEY', or a block with cert and key"),
        ("tls {\n cert a.pem\n}",
         "1: warning: tls: cert and key belong together; passed over, and the server makes a certificate"),
        ("tls magic", "1: warning: tls 'magic' is unknown, and passed over: the server makes a certificate"),
        ("imap tls://0.0.0.0:70000 { }", "1: error: tls://0.0.0.0:70000: a port is a number up to 65535"),
        ("turn tcp://0.0.0.0 { }", "1: error: tcp://0.0.0.0: there is no port"),
        ("tls self_signed", "1: warning: tls self_signed is not served: the server makes a certificate"),
        ("state_dir /x\nfoo bar", "1: warning: state_dir is not served by this test server"),
        ("smtp tcp://0.0.0.0:25 {\n anything {\n }\n}",
         "2: warning: 'anything' is unknown in smtp, and passed over; served here are tls"),
        ("storage.imapsql local { driver x }", "1: warning: storage.imapsql is not served by this test server"),
        ("imap {\n auth &local_authdb\n}", "2: warning: auth is not served by this test server"),
        ("imap {\n" * (MAX_NESTING + 2) + "}\n" * (MAX_NESTING + 2),
         "258: error: blocks are nested more than 256 deep"),
        ("a {\n" * 40_000 + "}\n" * 40_000, "258: error: blocks are nested more than 256 deep"),
        ("$(a) = " + "x" * MAX_ARGUMENT + "\n$(b) = $(a)$(a)", "2: error: a word has more than 8192 characters"),
        ("$(a) = " + "x " * 600 + "\n$(b) = $(a) $(a)", "2: error: more than 1000 arguments"),
        ("# " + "x" * 300_000, "1: error: the file has more than 262144 characters"),
    ],
)  # fmt: skip
def test_what_is_wrong_has_a_line_and_a_sentence(text, finding):
    assert found(text)[0] == finding


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("nonsense x", "1: warning: 'nonsense' is unknown in maddy.conf, and passed over; served here are"),
        (
            "imap {\n iroh_relay http://x:1\n}",
            "2: warning: 'iroh_relay' is unknown in imap, and passed over; served here are",
        ),
    ],
)
def test_unknown_directives_are_warnings_and_name_what_is_known(text, where):
    [finding] = found(text)
    assert finding.startswith(where)
    assert ("iroh_relay_url" in finding) == ("imap {" in text)


def test_text_that_is_not_utf_8_names_the_line(tmp_path):
    path = tmp_path / "maddy.conf"
    path.write_bytes(b"log stderr\nimap {\n turn_secret \xe4\n}\n")
    with pytest.raises(ConfigurationError, match=rf"{path}:3: error: expected text in UTF-8"):
        maddy.load(path)


WORDS = st.sampled_from(
    ["imap", "turn", "tls", "file", "turn_port", "secret", "{", "}", "\n", '"', "\\", "#", "$(a)", "$(public_ip)", "=",
     "http://[", "tls://0.0.0.0:1", "0", "chatmail", "iroh_relay_url", "http://x:1", "\r\n", "\x00", "\ud800", "é"]
)  # fmt: skip


@given(st.one_of(st.text(), st.lists(WORDS).map(" ".join), st.lists(WORDS).map("".join)))
def test_any_text_is_read_or_refused_with_a_place(text):
    try:
        config = maddy.read(text, "maddy.conf")
    except ConfigurationError as error:
        assert str(error).startswith("maddy.conf:")
    else:
        assert all(1 <= finding.place.line <= text.count("\n") + 1 for finding in config.findings)
        assert {finding.severity for finding in config.findings} <= set(Severity)


@given(st.binary())
def test_any_bytes_are_read_or_refused_with_a_place(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(data)
    for load in (maddy.load, relay.load):
        try:
            load(path)
        except ConfigurationError as error:
            assert str(error).startswith(f"{path}:")
