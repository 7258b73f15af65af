"""The admin API as a client: what it says is believed only as far as the API itself spoke."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from harness.clients.mail.admin import AdminClient, AdminError
from harness.hosts import LocalHost
from harness.servers.certificates import issue
from harness.stage.options import ADMIN_TOKEN, Choice
from harness.target import AdminAccess

from .test_files_of_servers import TARGET


@contextlib.contextmanager
def answering(directory, status: int, answer: bytes) -> Iterator[tuple[AdminClient, list[Any]]]:
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_words: object) -> None:
            pass

    made = issue(directory, ["127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.chain, made.key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        target = replace(TARGET, https=server.server_port, ca_file=made.ca, admin=AdminAccess("secret-token"))
        yield AdminClient(LocalHost(), target), asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_question_has_the_form_of_the_api(tmp_path):
    answer = b'{"status": 201, "body": {"email": "a@b"}, "error": null, "version": "2"}'
    with answering(tmp_path, 200, answer) as (admin, asked):
        assert admin.do("/admin/accounts", name="x") == {"email": "a@b"}
    assert asked == [
        {
            "method": "POST",
            "resource": "/admin/accounts",
            "headers": {"Authorization": "Bearer secret-token"},
            "body": {"name": "x"},
        }
    ]


def test_a_refusal_has_the_words_of_the_server(tmp_path):
    with answering(tmp_path, 200, b'{"status": 400, "error": "no such action"}') as (admin, _asked):
        assert admin.ask("/admin/queue", "POST").status == 400
        with pytest.raises(AdminError, match="refuses POST /admin/queue: 400 no such action"):
            admin.do("/admin/queue")


@pytest.mark.parametrize(
    ("status", "answer", "sentence"),
    [
        (404, b"{}", "HTTP 404"),
        (200, b"<html>", "something else"),
        (200, b"[1]", "something else"),
        (200, b'{"status": "yes"}', "something else"),
    ],
)
def test_anything_else_is_no_answer(tmp_path, status, answer, sentence):
    with answering(tmp_path, status, answer) as (admin, _asked), pytest.raises(AdminError, match=sentence):
        admin.ask("/admin/status")


def test_nobody_there_is_said():
    with pytest.raises(AdminError, match="no answer of the admin API"):
        AdminClient(LocalHost(), replace(TARGET, admin=AdminAccess("x"))).ask("/admin/status")


def test_the_token_for_a_server_elsewhere_comes_by_the_environment(tmp_path, monkeypatch):
    assert "admin" not in Choice(domain="127.0.0.1").open(LocalHost(), tmp_path).target.capabilities
    monkeypatch.setenv(ADMIN_TOKEN, "secret-token")
    target = Choice(domain="127.0.0.1").open(LocalHost(), tmp_path).target
    assert target.admin == AdminAccess("secret-token")
    assert "admin" in target.capabilities
    assert "secret-token" not in repr(target)
