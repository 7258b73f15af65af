"""Commands of any state, and those by which a client comes in (RFC 3501 sections 6.1 and 6.2)."""

from __future__ import annotations

import base64
import binascii

from reference_server.mail.mailbox import Refused

from .arguments import expect, text_of
from .context import Context, Steps, Want, ask, read_line
from .events import LogIn, Refresh
from .parser import BadSyntax, Command
from .states import State

__all__ = [
    "authenticate",
    "capability",
    "catch_up",
    "compress",
    "identify",
    "idle",
    "login",
    "logout",
    "noop",
    "starttls",
]


def capability(context: Context, _command: Command) -> None:
    context.untagged(f"CAPABILITY {context.capabilities()}")


def noop(_context: Context, _command: Command) -> None:
    """Do nothing: the session reports changes after every command."""


def logout(context: Context, _command: Command) -> None:
    context.bye("Logging out")


def identify(context: Context, _command: Command) -> None:
    context.untagged('ID ("name" "chatmail reference server")')


def starttls(_context: Context, _command: Command) -> str:
    """The session does it after the answer."""
    return "Begin TLS negotiation now"


def login(context: Context, command: Command) -> Steps:
    user, password = expect(2, command.arguments)
    return (yield from _log_in(context, text_of(user), text_of(password)))


def authenticate(context: Context, command: Command) -> Steps:
    """PLAIN (RFC 4616), its response in the command (RFC 4959) or on a line of its own."""
    if not command.arguments:
        raise BadSyntax("AUTHENTICATE needs a mechanism")
    mechanism, *initial = command.arguments
    if text_of(mechanism).upper() != "PLAIN" or len(initial) > 1:
        raise Refused("CANNOT", "PLAIN is the only mechanism")
    if initial:
        response = text_of(initial[0]).encode()
    else:
        context.write("+ ")
        response = yield from read_line()
    if response == b"*":
        raise BadSyntax("AUTHENTICATE was cancelled")
    try:
        identity, user, password = base64.b64decode(response, validate=True).decode().split("\0")
    except (binascii.Error, ValueError):
        raise BadSyntax("That is no response of PLAIN") from None
    if identity.lower() not in ("", user.lower()):
        raise Refused("AUTHORIZATIONFAILED", "Nobody acts for somebody else here")
    return (yield from _log_in(context, user, password))


def _log_in(context: Context, user: str, password: str) -> Steps:
    if not (yield from ask(LogIn(user, password))):
        context.login_failures += 1
        raise Refused("AUTHENTICATIONFAILED", "Authentication failed.")
    context.state = State.AUTHENTICATED
    return f"[CAPABILITY {context.capabilities()}] Logged in"


def compress(context: Context, command: Command) -> str:
    """The session does it after the answer (RFC 4978)."""
    (mechanism,) = expect(1, command.arguments)
    if not context.profile.compress or text_of(mechanism).upper() != "DEFLATE":
        raise Refused("CANNOT", "There is no such compression here")
    if context.compressed:
        raise Refused("COMPRESSIONACTIVE", "DEFLATE is active already")
    context.compressed = True
    return "DEFLATE active"


def idle(context: Context, _command: Command) -> Steps:
    """Reports at once what differs from what the client was told, however it came about (RFC 2177)."""
    context.write("+ idling")
    context.changed = True
    line: bytes | None = None
    while line is None:
        try:
            yield from catch_up(context, may_expunge=True)
        except Refused:
            context.bye("The store does not answer")
            raise
        line = yield Want.LINE_OR_CHANGE
    if line.upper() != b"DONE":
        raise BadSyntax("IDLE ends with DONE")
    return None


def catch_up(context: Context, *, may_expunge: bool) -> Steps:
    """Tell what has happened to the open mailbox, if anything has. Raises `Refused`."""
    if context.view is None or not context.has_news:
        return None
    context.changed = False
    try:
        messages = yield from ask(Refresh(context.view.mailbox, claim=not context.view.read_only))
    except Refused:
        context.changed = True
        raise
    responses, complete = context.view.update(messages, may_expunge=may_expunge)
    context.write_all(responses)
    context.changed |= not complete
    return None
