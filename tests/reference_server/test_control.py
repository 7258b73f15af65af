"""The control socket: who may open it, and what it says to bad requests."""

from __future__ import annotations

import asyncio
import json
import stat

import pytest

from reference_server.control import ControlError, ControlServer, request


async def echo(fields):
    return {"got": fields.get("word")}


async def refuse(_fields):
    raise ControlError("not today")


def serving(tmp_path, talk):
    """Run `talk(path)` against a server with the verbs `echo` and `refuse`."""

    async def main():
        server = ControlServer(tmp_path / "run" / "control.sock", {"echo": echo, "refuse": refuse})
        await server.start()
        try:
            return await talk(server.path)
        finally:
            await server.close()

    return asyncio.run(main())


def test_answers_a_verb(tmp_path):
    assert serving(tmp_path, lambda path: request(path, "echo", word="hi")) == {"got": "hi"}


@pytest.mark.parametrize(("verb", "sentence"), [("refuse", "not today"), ("dance", "unknown verb")])
def test_a_refusal_is_a_sentence(tmp_path, verb, sentence):
    with pytest.raises(ControlError, match=sentence):
        serving(tmp_path, lambda path: request(path, verb))


def test_only_the_owner_can_open_it(tmp_path):
    async def modes(path):
        return [stat.S_IMODE(file.stat().st_mode) for file in (path, path.parent)]

    assert serving(tmp_path, modes) == [0o600, 0o700]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b"not json\n", "Expecting value"),
        (b"[1]\n", "JSON object"),
        (b'{"v": 2, "verb": "echo"}\n', "control protocol 1"),
        (b"\xff\xfe\n", "decode"),
    ],
)
def test_garbage_gets_an_answer_and_the_connection_lives_on(tmp_path, line, sentence):
    async def talk(path):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(line + json.dumps({"v": 1, "id": 2, "verb": "echo", "word": "x"}).encode() + b"\n")
        replies = [json.loads(await reader.readline()) for _ in range(2)]
        writer.close()
        return replies

    refused, answered = serving(tmp_path, talk)
    assert refused["ok"] is False
    assert sentence in refused["error"]
    assert answered == {"v": 1, "id": 2, "ok": True, "result": {"got": "x"}}


def test_nobody_there_is_a_clear_error(tmp_path):
    with pytest.raises(ControlError, match="no answer from"):
        asyncio.run(request(tmp_path / "nobody.sock", "ledger"))
