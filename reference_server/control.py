"""The control socket: newline JSON over a unix socket (docs/control-protocol.md).

It reads counters and manages processes. No verb changes how a protocol behaves.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["MAX_LINE", "ControlError", "ControlServer", "Verb", "request"]

VERSION = 1
MAX_LINE = 16 * 1024 * 1024
"""Bytes of one line. Requests are short; a ledger reply is the largest thing that crosses the socket."""

Verb = Callable[[Mapping[str, Any]], Awaitable[Any]]
"""Gets the request's fields, returns JSON data, raises `ControlError` with a sentence for the caller."""


class ControlError(Exception):
    """A request that cannot be answered; the text goes to the caller."""


class ControlServer:
    """Serves verbs on a unix socket that only its owner can open."""

    def __init__(self, path: Path, verbs: Mapping[str, Verb]) -> None:
        self.path = path
        self._verbs = verbs
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self.path, limit=MAX_LINE)
        self.path.chmod(0o600)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await self._answer(line)).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            pass  # the caller has gone, or sent a line over the limit: there is nobody to tell
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        reply: dict[str, Any] = {"v": VERSION, "id": None}
        try:
            fields = json.loads(line)
            if not isinstance(fields, dict):
                raise ControlError("a request is a JSON object")
            reply["id"] = fields.get("id")
            if fields.get("v") != VERSION:
                raise ControlError(f"this server speaks control protocol {VERSION}")
            verb = self._verbs.get(str(fields.get("verb")))
            if verb is None:
                raise ControlError(f"unknown verb; known are {', '.join(sorted(self._verbs))}")
            return {**reply, "ok": True, "result": await verb(fields)}
        except (ControlError, json.JSONDecodeError, UnicodeDecodeError) as error:
            return {**reply, "ok": False, "error": str(error)}
        except (ValueError, RecursionError):  # numbers and brackets without end
            return {**reply, "ok": False, "error": "a request is a JSON object"}


async def request(path: Path, verb: str, *, timeout: float = 10.0, **fields: Any) -> Any:
    """Ask another process's control socket once. Raises `ControlError` when it refuses or is not there."""
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_unix_connection(path, limit=MAX_LINE)
            try:
                writer.write(json.dumps({"v": VERSION, "id": 1, "verb": verb, **fields}).encode() + b"\n")
                await writer.drain()
                line = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        raise ControlError(f"no answer from {path}: {error or 'timed out'}") from error
    if not line:
        raise ControlError(f"{path} closed the connection without an answer")
    reply = json.loads(line)
    if not reply["ok"]:
        raise ControlError(reply["error"])
    return reply["result"]
