"""AUTH in SMTP (RFC 4954) with PLAIN (RFC 4616) and LOGIN, as clients in the world speak it; aiosmtpd does the rest.

Its own AUTH knows mechanisms in upper case only, believes every authorization identity, and confuses a long answer
with commands.
"""

from __future__ import annotations

import asyncio
import binascii
import re
from abc import abstractmethod
from base64 import b64decode
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult

__all__ = ["AuthenticatingSmtp", "refused"]

LONGEST_ANSWER = 12288
"""Bytes of base64 in one line (RFC 4954 section 4)."""
LONGEST_AUTH = LONGEST_ANSWER + len("AUTH PLAIN ") + 20
LONGEST_COMMAND = 512
LONGEST_MAIL = LONGEST_COMMAND + 500 + 26 + 10
"""AUTH, SIZE and SMTPUTF8 make it longer (RFC 4954 section 3, RFC 1870, RFC 6531)."""

_AUTH_PARAMETER = re.compile(r"AUTH=(<>|(?:[!-*,-<>-~]|\+[0-9A-F]{2})+)")
"""Of MAIL, in upper case: who wrote the mail, in xtext (RFC 4954 section 5)."""


def refused(text: str) -> AuthResult:
    return AuthResult(success=False, handled=False, message=text)


CANCELLED = refused("501 5.7.0 AUTH was cancelled")
NO_BASE64 = refused("501 5.5.2 That is no base64")
NO_PLAIN = refused("501 5.5.2 That is no answer of PLAIN")
TOO_LONG = refused(f"500 5.5.6 An answer is longer than {LONGEST_ANSWER} bytes")
NOT_FOR_OTHERS = refused("535 5.7.8 Error: nobody acts for somebody else here")


class AuthenticatingSmtp(SMTP):
    """A client that logs in. What `log_in` says is what it hears."""

    def __init__(self, handler: Any, **settings: Any) -> None:
        self.line_length_limit = LONGEST_AUTH
        super().__init__(handler, **settings)
        self.command_size_limits = defaultdict(lambda: LONGEST_COMMAND, AUTH=LONGEST_AUTH, MAIL=LONGEST_MAIL)

    @abstractmethod
    async def log_in(self, user: str, password: str) -> AuthResult: ...

    @abstractmethod
    async def refuse_log_in(self) -> AuthResult: ...

    @abstractmethod
    def is_same_user(self, one: str, other: str) -> bool: ...

    async def smtp_EHLO(self, hostname: str) -> None:
        await super().smtp_EHLO(hostname)
        self.command_size_limits["MAIL"] = LONGEST_MAIL  # aiosmtpd makes it longer at each EHLO

    async def smtp_AUTH(self, arg: str | None) -> None:
        mechanism, *answer = (arg or "").split(maxsplit=1)[:2] or [""]
        await super().smtp_AUTH(" ".join([mechanism.upper(), *answer]))

    async def auth_PLAIN(self, _server: SMTP, args: list[str]) -> AuthResult:
        answer = await self._answer("", args)
        if isinstance(answer, AuthResult):
            return answer
        if answer.count(b"\0") != 2:
            return NO_PLAIN
        try:
            identity, user, password = answer.decode().split("\0")
        except UnicodeDecodeError:
            return await self.refuse_log_in()
        if identity and not self.is_same_user(identity, user):
            return NOT_FOR_OTHERS
        return await self.log_in(user, password)

    async def auth_LOGIN(self, _server: SMTP, args: list[str]) -> AuthResult:
        words = []
        for challenge, given in (("Username:", args), ("Password:", [])):
            answer = await self._answer(challenge, given)
            if isinstance(answer, AuthResult):
                return answer
            words.append(answer)
        try:
            user, password = (word.decode() for word in words)
        except UnicodeDecodeError:
            return await self.refuse_log_in()
        return await self.log_in(user, password)

    async def _answer(self, challenge: str, args: Sequence[str]) -> bytes | AuthResult:
        """What the client says, in the command itself (`=` is an empty answer) or when it is asked."""
        if len(args) > 1:
            line: bytes | None = b"" if args[1] == "=" else args[1].encode(errors="replace")
        else:
            await self.push(b"334 " + binascii.b2a_base64(challenge.encode(), newline=False))
            line = await self._read_answer()
        if line is None or len(line) > LONGEST_ANSWER:
            return TOO_LONG
        if line == b"*":
            return CANCELLED
        try:
            return b64decode(line, validate=True)
        except binascii.Error:
            return NO_BASE64

    async def _read_answer(self) -> bytes | None:
        """One line; None for one that is too long, all of which is read."""
        too_long = False
        while True:
            try:
                line: bytes = await self._reader.readuntil(b"\n")
            except asyncio.LimitOverrunError as error:
                await self._reader.read(error.consumed)
                too_long = True
            else:
                return None if too_long else line.strip()

    def _getparams(self, params: Sequence[str]) -> dict[str, str | bool] | None:
        """All but the AUTH of MAIL: it is accepted, and believed of nobody."""
        parameters: dict[str, str | bool] | None = super()._getparams(
            [each for each in params if not _AUTH_PARAMETER.fullmatch(each)]
        )
        return parameters
