"""dovecot in place of our own IMAP, as chatmail servers have it: it asks for accounts and METADATA, and keeps the mail.

It asks by the protocol of its dicts, version 2 (dovecot's src/lib-dict/dict-client.h), and gets the mail by LMTP
(RFC 2033). Both sockets lie in one directory.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import smtplib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .accounts import Accounts
from .store import Account
from .store_thread import StoreUnavailable

__all__ = ["DictServer", "LmtpDelivery"]

DICT_SOCKET, LMTP_SOCKET = "dict", "lmtp"
PASSDB = "shared/passdb/"
"""Followed by password, address and source of the client, each but the last with a quotation mark behind it."""
SERVER_ENTRY = re.compile(r"shared/[^/]+/vendor/vendor\.dovecot/pvt/server(/.+)")
"""Entry of the server's METADATA that everybody may read; before it stands the GUID of the asker's inbox."""
FOUND, NOT_FOUND, FAILED, END_OF_LIST = "O", "N", "F", ""
ASKS_FOR_LIST, COMMITS = "I", ("C", "D")
ESCAPES = {"0": "\0", "1": "\1", "t": "\t", "r": "\r", "n": "\n"}
"""Behind the character 1."""
LONGEST_LINE = 1 << 16
LMTP_WITHIN = 60.0
"""Seconds for each answer."""

log = logging.getLogger(__name__)

ServerEntry = Callable[[str], str | None]
"""The value of `/shared/...` in METADATA, if there is one."""


class DictServer:
    """Answers dovecot's questions. Nothing can be kept here: devices cannot leave their push tokens."""

    def __init__(self, accounts: Accounts, entry: ServerEntry) -> None:
        self._accounts = accounts
        self._entry = entry
        self._server: asyncio.Server | None = None

    async def start(self, directory: Path) -> None:
        path = directory / DICT_SOCKET
        path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, path, limit=LONGEST_LINE)
        path.chmod(0o600)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                answer = await self.answer(line.decode(errors="replace").rstrip("\n"))
                if answer is not None:
                    writer.write(f"{answer}\n".encode())
                    await writer.drain()
        except (ConnectionError, ValueError):
            pass  # dovecot has gone, or sent a line over the limit: there is nobody to tell
        finally:
            writer.close()

    async def answer(self, line: str) -> str | None:
        """What is said to one line, without its end; None: it is no question."""
        command, (first, *_rest) = line[:1], [_unescaped(word) for word in line[1:].split("\t")]
        if command == "L":
            found = await self._look_up(first)
            return NOT_FOUND if found is None else FOUND + _escaped(found)
        if command in COMMITS:
            return FAILED + first
        return END_OF_LIST if command == ASKS_FOR_LIST else None

    async def _look_up(self, key: str) -> str | None:
        if key.startswith(PASSDB):
            return await self._log_in(key.removeprefix(PASSDB))
        asked = SERVER_ENTRY.fullmatch(key)
        return self._entry(f"/shared{asked[1]}") if asked else None

    async def _log_in(self, asked: str) -> str | None:
        """For a right password, the answer that dovecot need not compare it; the account is created as ever."""
        password, address, source = _quoted(asked)
        try:
            account = await self._accounts.log_in(address, password, protocol="imap", source=source)
        except StoreUnavailable:
            return None
        return None if account is None else json.dumps({"nopassword": "y"})


class LmtpDelivery:
    """Returns when dovecot has answered for every mailbox. Where it took some only, the client will send it again."""

    def __init__(self, directory: Path, own_name: str) -> None:
        self._socket = directory / LMTP_SOCKET
        self._own_name = own_name

    async def deliver(self, accounts: Sequence[Account], content: bytes, **_more: Any) -> None:
        addresses = list(dict.fromkeys(account.address for account in accounts))
        try:
            await asyncio.to_thread(self._hand_over, addresses, content)
        except (OSError, smtplib.SMTPException) as error:
            log.exception("dovecot did not take a mail")
            raise StoreUnavailable(str(error)) from error

    async def close(self) -> None:
        """Nothing is on its way that nobody waits for."""

    def _hand_over(self, addresses: Sequence[str], content: bytes) -> None:
        with smtplib.LMTP(str(self._socket), local_hostname=self._own_name, timeout=LMTP_WITHIN) as lmtp:
            lmtp.ehlo()
            _expect(lmtp.mail("", ["BODY=8BITMIME"]))
            for address in addresses:
                _expect(lmtp.rcpt(address))
            _expect(lmtp.data(content))
            for _another in addresses[1:]:  # there is an answer for each recipient
                _expect(lmtp.getreply())


def _expect(answer: tuple[int, bytes]) -> None:
    code, text = answer
    if not 200 <= code < 300:
        raise smtplib.SMTPResponseException(code, text)


def _quoted(text: str) -> list[str]:
    """Three words with quotation marks between them; behind a backslash any character stands for itself."""
    words = [""]
    characters = iter(text)
    for each in characters:
        if each == '"' and len(words) < 3:
            words.append("")
        else:
            words[-1] += next(characters, "") if each == "\\" else each
    return [*words, "", ""][:3]


def _escaped(text: str) -> str:
    names = {character: f"\1{name}" for name, character in ESCAPES.items()}
    return "".join(names.get(each, each) for each in text)


def _unescaped(text: str) -> str:
    return re.sub("\1(.)", lambda match: ESCAPES.get(match[1], match[1]), text)
