"""Addresses and MIME as they are in the world: folded, with comments, in groups."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_server.mail.imap.addresses import Address, addresses, normal_form
from reference_server.mail.imap.entities import read_entity
from reference_server.mail.imap.structure import body_structure, envelope
from tests.reference_server.mail.imap.dialogue import World, selected

END: Address = (None, None, None, None)
X: Address = (None, None, "x", "y.z")


def group(name: str, *members: Address) -> list[Address]:
    return [(None, None, name, None), *members, END]


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("a@b.c", [(None, None, "a", "b.c")]),
        ("g: a@b.c;, h: d@e.f;", [*group("g", (None, None, "a", "b.c")), *group("h", (None, None, "d", "e.f"))]),
        ("a:;, b:;", [(None, None, "a", None), END, (None, None, "b", None), END]),
        ("hidden-recipients: ;", [(None, None, "hidden-recipients", None), END]),
        (
            "x@y.z, g: a@b.c, Name <d@e.f>; , z@y.x",
            [X, *group("g", (None, None, "a", "b.c"), ("Name", None, "d", "e.f")), (None, None, "z", "y.x")],
        ),
        ('"a: b" : a@b.c;', [(None, None, "a: b", None), (None, None, "a", "b.c"), END]),
        ("g: a@b.c", [(None, None, "g", None), (None, None, "a", "b.c"), END]),
        ("<u (c)@ (c) d.org>", [(None, None, "u", "d.org")]),
        ("u (c) @ (c (d)) d . org", [("c (d)", None, "u", "d.org")]),
        ("(before) <u@d.org> (after)", [(None, None, "u", "d.org")]),
        ("u@d.org (Some Body), v@d.org", [("Some Body", None, "u", "d.org"), (None, None, "v", "d.org")]),
        ('"Body, Some" <u@d.org>', [("Body, Some", None, "u", "d.org")]),
        (r'"A \"B\" \\C" <u@d.org>', [('A "B" \\C', None, "u", "d.org")]),
        ("John Q. Public <u@d.org>", [("John Q. Public", None, "u", "d.org")]),
        ("Jörg <u@d.org>", [("Jörg", None, "u", "d.org")]),
        ("=?utf-8?q?J=C3=B6rg?= <u@d.org>", [("=?utf-8?q?J=C3=B6rg?=", None, "u", "d.org")]),
        ('"odd one"@d.org', [(None, None, "odd one", "d.org")]),
        ("u@[192.0.2.1], v@[IPv6:2001:db8::1]",
         [(None, None, "u", "[192.0.2.1]"), (None, None, "v", "[IPv6:2001:db8::1]")]),
        ("<@one,@two:u@d.org>", [(None, "@one,@two", "u", "d.org")]),
        ("A <@one (c) , @two :u@d.org>, v@d.org", [("A", "@one,@two", "u", "d.org"), (None, None, "v", "d.org")]),
        ("<:u@d.org>", [(None, None, "u", "d.org")]),
        (", ,u@d.org,,", [(None, None, "u", "d.org")]),
        ("root", [(None, None, "root", "")]),
        ("Name <root>", [("Name", None, "root", "")]),
        ("Name <u@d.org", [("Name", None, "u", "d.org")]),
        ("", []),
        ("<>", []),
        ("(" * 100, []),
    ],
)  # fmt: skip
def test_address_lists(written: str, found: list[Address]) -> None:
    assert addresses(written.encode()) == found


def test_the_envelope_keeps_routes(world: World) -> None:
    world.deliver(b"From: <@one,@two:u@d.org>\r\nTo: A <@one:u@d.org>\r\n\r\n")
    sender = '((NIL "@one,@two" "u" "d.org"))'
    selected(world).run(f"""
        C: a FETCH 1 ENVELOPE
        S: * 1 FETCH (ENVELOPE (NIL NIL {sender} {sender} {sender} (("A" "@one" "u" "d.org")) NIL NIL NIL NIL))
        S: a OK ...
    """)


def test_the_envelope_keeps_groups(world: World) -> None:
    world.deliver(
        b"From: <u (c)@ (c) d.org>\r\nTo: g: a@b.c;, h:\r\n d@e.f;\r\nCc: a:;, b:;\r\n"
        b"Bcc: hidden: ;\r\nSubject: x\r\n\r\n"
    )
    sender = '((NIL NIL "u" "d.org"))'
    to = '((NIL NIL "g" NIL)(NIL NIL "a" "b.c")(NIL NIL NIL NIL)(NIL NIL "h" NIL)(NIL NIL "d" "e.f")(NIL NIL NIL NIL))'
    cc = '((NIL NIL "a" NIL)(NIL NIL NIL NIL)(NIL NIL "b" NIL)(NIL NIL NIL NIL))'
    bcc = '((NIL NIL "hidden" NIL)(NIL NIL NIL NIL))'
    selected(world).run(f"""
        C: a FETCH 1 ENVELOPE
        S: * 1 FETCH (ENVELOPE (NIL "x" {sender} {sender} {sender} {to} {cc} {bcc} NIL NIL))
        S: a OK ...
    """)


@pytest.mark.parametrize(
    ("key", "found"),
    [
        *(("FROM u@d.org", True), ('FROM "u (c)@"', True), ("FROM U@D.ORG", True), ("FROM v@d.org", False)),
        *(("TO a@b.c", True), ("TO d@e.f", True), ("TO h:", True), ("CC a:", True), ("TO u@d.org", False)),
        *(("HEADER Reply-To d@e.f", True), ("HEADER From u@d.org", True), ('TO "Jörg"', True)),
        *(('FROM ""', True), ('BCC ""', False)),
    ],
)
def test_search_finds_an_address_however_it_is_written(world: World, key: str, found: bool) -> None:
    world.deliver(
        b"From: <u (c)@ (c) d.org>\r\nTo: g: a @ b.c;, h: =?utf-8?q?J=C3=B6rg?= <d@(x)e.f>;\r\n"
        b"Cc: a:;, b:;\r\nReply-To: d\r\n @e.f\r\n\r\n"
    )
    dialogue = selected(world)
    dialogue.receive(f"a SEARCH {key}\r\n".encode())
    assert dialogue.sent.startswith(b"* SEARCH 1\r\n" if found else b"* SEARCH\r\n")


@pytest.mark.parametrize(
    "parameter",
    [
        *('boundary="foo\r\n bar"', 'boundary="foo\r\n  bar"', 'boundary="foo\r\n\tbar"'),
        *('\r\n\tboundary="foo bar"', 'boundary\r\n =\r\n "foo bar"', 'boundary="foo bar" (comment)'),
        *('(comment)\r\n boundary="foo bar"', 'BOUNDARY="foo bar"; charset=x'),
    ],
)
def test_a_boundary_that_is_folded_is_one(world: World, parameter: str) -> None:
    inside = re.sub(r"\r\n", "", parameter)
    boundary = inside.split('"')[1]
    world.deliver(
        f"Content-Type: multipart/mixed; {parameter}\r\n\r\n--{boundary}\r\n\r\nfirst\r\n"
        f"--{boundary}\r\nContent-Type: text/html (really; no)\r\n\r\nsecond\r\n--{boundary}--\r\n".encode()
    )
    dialogue = selected(world)
    dialogue.run("""
        C: a FETCH 1 (BODY.PEEK[1] BODY.PEEK[2])
        S: * 1 FETCH (BODY[1] {5}
        S: first BODY[2] {6}
        S: second)
        S: a OK ...
    """)
    dialogue.receive(b"b FETCH 1 BODYSTRUCTURE\r\n")
    assert re.search(rb'\(\("text" "plain" NIL .*\)\("text" "html" NIL .*\) "mixed" \("', dialogue.sent)
    assert boundary.encode() in dialogue.sent


@given(
    st.lists(st.sampled_from([*'()<>@,;:."[]\\ ', "a", "é", "\r\n ", "=?u?q?x?="]), max_size=40).map("".join)
)
def test_any_address_field_is_read_and_written(text: str) -> None:
    found = addresses(text.encode())
    normal_form(found)
    inside = False
    for _name, _route, mailbox, host in found:
        if host is None:
            assert inside is (mailbox is None), "a group begins before it ends"
            inside = mailbox is not None
    assert not inside
    envelope(b"To: " + text.encode() + b"\r\n\r\n")


@given(
    st.lists(
        st.sampled_from(
            [
                *(
                    "Content-Type: ",
                    "multipart/mixed",
                    ";",
                    " boundary=",
                    '"',
                    "b",
                    "\r\n",
                    "\r\n ",
                    "--b",
                    "(",
                    ")",
                ),
                *(
                    "=",
                    "*0*=",
                    "%ff",
                    "'",
                    "\\",
                    "é",
                    "text/",
                    "Content-Transfer-Encoding: ",
                    "message/rfc822",
                ),
            ]
        ),
        max_size=40,
    ).map("".join)
)
def test_any_header_has_a_structure(text: str) -> None:
    for content in (text.encode(), text.encode("utf-16")):
        body_structure(read_entity(content), extended=True)


@pytest.mark.parametrize("unit", ["(", "<", ",", '"', "a ", "(a)", "a@b, ", "a:;", "[", "\\", "=?a?q?b?= "])
def test_a_troublemaker_costs_little(unit: str) -> None:
    began = time.process_time()
    normal_form(addresses((unit * 65536)[:65536].encode()))
    assert time.process_time() - began < 5
