"""The client's side of SMTP (RFC 5321 section 3) as a generator: it yields what to do and is sent the replies."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from ..settings import OutgoingTls
from .replies import Reply

__all__ = [
    "Answer",
    "Answers",
    "Conversation",
    "Envelope",
    "Fate",
    "HostFailed",
    "Say",
    "StartTls",
    "converse",
]

MAILBOX_FULL = "5.2."
"""Begins the text of those 552 that are about the mailbox; any other says that there were too many recipients."""


class Fate(Enum):
    DELIVERED = "delivered"
    LATER = "later"
    NEVER = "never"


@dataclass(frozen=True)
class Answer:
    """What a server said of one recipient."""

    fate: Fate
    text: str
    soon: bool = False
    """It is worth trying at once: only this transaction was full."""


Answers = Mapping[str, Answer]
"""By recipient: every one has an answer."""


@dataclass(frozen=True)
class Envelope:
    sender: str
    """Empty for a report, which nobody is to answer (RFC 5321 section 4.5.5)."""
    recipients: tuple[str, ...]
    content: bytes


@dataclass(frozen=True)
class Say:
    """Send these bytes, then read so many replies."""

    data: bytes
    replies: int = 1
    is_message: bool = False
    """The whole of it, for which a server may take longer."""


@dataclass(frozen=True)
class StartTls:
    """Negotiate TLS on the connection; no reply comes."""


class HostFailed(Exception):
    """A server that takes no mail now, or not from us: another one of the same domain may."""


Conversation = Generator[Say | StartTls, Sequence[Reply], Answers]


def converse(envelope: Envelope, own_name: str, tls: OutgoingTls) -> Conversation:
    """Deliver one mail. Raises `HostFailed` as long as the server has said nothing about the mail."""
    [greeting] = yield Say(b"")
    _expect(greeting, "greets with")
    offers = yield from _hello(own_name)
    if "STARTTLS" in offers and tls is not OutgoingTls.NEVER:
        [ready] = yield Say(b"STARTTLS\r\n")
        if ready.is_positive:
            yield StartTls()
            offers = yield from _hello(own_name)
        elif tls.is_required:
            raise HostFailed(f"answers STARTTLS with {ready}")
    elif tls.is_required:
        raise HostFailed("offers no STARTTLS, and nothing is sent without TLS")
    if (refusal := _unfit(envelope, offers)) is not None:
        yield Say(b"QUIT\r\n")
        return dict.fromkeys(envelope.recipients, Answer(Fate.NEVER, refusal))
    answers = yield from _transaction(envelope, offers)
    yield Say(b"QUIT\r\n")
    return answers


def _hello(own_name: str) -> Generator[Say, Sequence[Reply], dict[str, str]]:
    """Words that the server offers, in upper case, with what stands behind them."""
    [reply] = yield Say(f"EHLO {own_name}\r\n".encode())
    if reply.code in (500, 501, 502, 504):
        [reply] = yield Say(f"HELO {own_name}\r\n".encode())
        _expect(reply, "answers HELO with")
        return {}
    _expect(reply, "answers EHLO with")
    return {word.upper(): rest for word, _, rest in (line.partition(" ") for line in reply.lines[1:])}


def _expect(reply: Reply, what: str) -> None:
    """Also a final no is one of this server only: the next one of the domain is asked, and this one again later."""
    if not reply.is_positive:
        raise HostFailed(f"{what} {reply}")


def _unfit(envelope: Envelope, offers: Mapping[str, str]) -> str | None:
    size = offers.get("SIZE", "")
    if size.isdecimal() and 0 < int(size) < len(envelope.content):
        return f"552 5.3.4 the mail has {len(envelope.content)} bytes, and the server takes {size}"
    if (
        not all(each.isascii() for each in (envelope.sender, *envelope.recipients))
        and "SMTPUTF8" not in offers
    ):
        return "553 5.6.7 the server takes no addresses with such characters"
    return None


def _transaction(envelope: Envelope, offers: Mapping[str, str]) -> Generator[Say, Sequence[Reply], Answers]:
    parameters = f" SIZE={len(envelope.content)}" * ("SIZE" in offers)
    parameters += " BODY=8BITMIME" * ("8BITMIME" in offers)
    if not all(each.isascii() for each in (envelope.sender, *envelope.recipients)):
        parameters += " SMTPUTF8"
    [reply] = yield Say(f"MAIL FROM:<{envelope.sender}>{parameters}\r\n".encode())
    if not reply.is_positive:
        return dict.fromkeys(envelope.recipients, _answer(reply))
    commands = [f"RCPT TO:<{each}>\r\n".encode() for each in envelope.recipients]
    replies: list[Reply] = []
    for at_once in [b"".join(commands)] if "PIPELINING" in offers else commands:
        replies += yield Say(at_once, at_once.count(b"\n"))
    answers = {each: _of_recipient(reply) for each, reply in zip(envelope.recipients, replies, strict=True)}
    accepted = [each for each, answer in answers.items() if answer.fate is Fate.DELIVERED]
    if not accepted:
        return answers
    [reply] = yield Say(b"DATA\r\n")
    if reply.code == 354:
        [reply] = yield Say(b"".join(_stuffed(envelope.content)), is_message=True)
    return answers | dict.fromkeys(accepted, _answer(reply))


def _of_recipient(reply: Reply) -> Answer:
    """Too many recipients is no final answer, whether it is 452 or 552 (RFC 5321 section 4.5.3.1.10)."""
    if reply.code == 552 and not " ".join(reply.lines).startswith(MAILBOX_FULL):
        return Answer(Fate.LATER, str(reply), soon=True)
    return Answer(Fate.LATER, str(reply), soon=True) if reply.code == 452 else _answer(reply)


def _answer(reply: Reply) -> Answer:
    if reply.code == 354:
        return Answer(Fate.LATER, f"the server wants more: {reply}")
    if reply.is_positive:
        return Answer(Fate.DELIVERED, str(reply))
    return Answer(Fate.NEVER if reply.is_final else Fate.LATER, str(reply))


def _stuffed(content: bytes) -> Iterator[bytes]:
    """With a second dot where a line begins with one (RFC 5321 section 4.5.2), and the end."""
    yield b"." * content.startswith(b".")
    yield content.replace(b"\r\n.", b"\r\n..")
    yield b"" if content.endswith(b"\r\n") else b"\r\n"
    yield b".\r\n"
