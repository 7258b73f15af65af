"""A message that comes in over SMTP: aiosmtpd speaks, this takes what stands behind DATA, within limits."""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass
from typing import Any, cast

from aiosmtpd.smtp import SMTP

from reference_server.ledger import ConnectionRecord

from .rates import MemoryBudget
from .settings import Limits
from .smtp_data import MessageData

__all__ = ["EVERYTHING", "Receiving", "ReceivingSmtp"]

LONGEST_LINE = 2048
"""Bytes of a line of a message, as the postfix of chatmail takes them."""
EVERYTHING = 1 << 30
"""Bytes to ask a reader for that has fewer."""
_ATOMS = r"[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*"
SIMPLE_PATH = re.compile(rf"<({_ATOMS}@{_ATOMS})> *(?=[A-Za-z]|\Z)")
"""Nearly every address; the parser of the standard library takes 0.1 ms for one."""
TOO_MUCH = "4.3.1 Too much mail is coming in, try again later"


@dataclass(frozen=True)
class Receiving:
    """Everything that it takes to receive, whoever sends."""

    name: str
    """Of this server, for its greeting."""
    tls: ssl.SSLContext
    limits: Limits
    memory: MemoryBudget


class ReceivingSmtp(SMTP):
    """One client. `tls` says whether the connection is encrypted from its first byte on; a client that has not done
    what `before_hang_up` waits for in time is hung up on."""

    def __init__(
        self, handler: Any, receiving: Receiving, record: ConnectionRecord, *, tls: bool, **more: Any
    ) -> None:
        limits = receiving.limits
        super().__init__(
            handler,
            data_size_limit=limits.message,
            enable_SMTPUTF8=True,
            hostname=receiving.name,
            ident="ESMTP",
            tls_context=None if tls else receiving.tls,
            timeout=limits.smtp_idle,
            loop=asyncio.get_running_loop(),
            **more,
        )
        self._limits = limits
        self._memory = receiving.memory
        self.record = record
        self._over = asyncio.Event()
        self._data_end: int | None = None
        """Largest number of bytes from the client at the end of the DATA that is being read."""
        self._incoming: tuple[MessageData, asyncio.Future[None]] | None = None
        """The message that is coming in, and what waits for its end."""
        self._held = 0
        """Bytes of the memory that all connections share."""
        self.deadline = self.loop.call_later(limits.before_login, self.hang_up)

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        self.record.bytes_in += len(data)
        if self._data_end is not None and not self._may_hold(data):
            return
        if self._incoming is None:
            super().data_received(data)
            return
        message, complete = self._incoming
        self._reset_timeout()
        rest = message.feed(data)
        if rest is not None:
            self._incoming = None
            super().data_received(rest)
            complete.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        self.deadline.cancel()
        self._let_go()
        if self.transport is not None:  # aiosmtpd comes here twice when STARTTLS fails
            super().connection_lost(error)
        self._over.set()

    def _may_hold(self, data: bytes) -> bool:
        """More of the message that is coming in; otherwise the connection ends."""
        cost = len(data)
        if self._data_end is not None and self.record.bytes_in > self._data_end:
            self.hang_up()  # it is too large anyway, and nobody waits for its end for ever
            return False
        if not self._memory.take(cost):
            cast(asyncio.Transport, self.transport).write(f"421 {TOO_MUCH}\r\n".encode())
            self.hang_up()
            return False
        self._held += cost
        return True

    def _let_go(self) -> None:
        self._memory.give_back(self._held)
        self._held = 0

    async def wait_closed(self) -> None:
        await self._over.wait()

    # aiosmtpd.SMTP

    async def push(self, status: str | bytes) -> None:
        raw = status.encode(errors="backslashreplace") if isinstance(status, str) else status
        self.record.bytes_out += len(raw) + 2
        await super().push(raw)
        await asyncio.sleep(0)  # a client that pipelines takes turns with the others

    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        if (simple := SIMPLE_PATH.match(arg)) is not None and not self.local_part_limit:
            return simple[1], arg[simple.end() :]
        try:
            address, rest = super()._getaddr(arg)
        except Exception:
            return None, None  # IndexError for `<"a`, and what else the parser of the standard library has
        return address, rest

    async def smtp_DATA(self, arg: str | None) -> None:
        """aiosmtpd would keep an object for each line, and would not let a message take longer than a command."""
        assert self.envelope is not None
        if await self.check_helo_needed():
            return
        if not self.envelope.rcpt_tos:
            await self.push("503 Error: need RCPT command")
        elif arg:
            await self.push("501 Syntax: DATA")
        else:
            await self.push("354 End data with <CR><LF>.<CR><LF>")
            message = await self._read_message()
            reply = await self._take_message(message)
            self._set_post_data_state()  # type: ignore[no-untyped-call]
            await self.push(reply)

    async def _read_message(self) -> MessageData:
        limits = self._limits
        message = MessageData(most=limits.message, longest_line=LONGEST_LINE)
        self._data_end = self.record.bytes_in + 2 * limits.message
        deadline = self.loop.call_later(limits.transfer, self.hang_up)
        try:
            rest = message.feed(await self._reader.read(EVERYTHING))
            if rest is not None:
                self._reader.feed_data(rest)
            else:
                self._incoming = message, self.loop.create_future()
                await self._incoming[1]
        finally:
            deadline.cancel()
            self._incoming = self._data_end = None
            self._let_go()
        return message

    async def _take_message(self, message: MessageData) -> str:
        if message.too_large:
            return f"552 5.3.4 Error: the message has more than {self._limits.message} bytes"
        if message.too_long:
            return f"500 5.5.2 Error: a line is too long, it has more than {LONGEST_LINE} bytes"
        assert self.envelope is not None
        self.envelope.original_content = message.take()
        reply: str = await self._call_handler_hook("DATA")
        return reply

    def hang_up(self) -> None:
        if self.transport is not None:
            self.transport.close()
