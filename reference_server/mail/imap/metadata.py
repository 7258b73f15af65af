"""METADATA (RFC 5464): what the server tells its users about itself, and the device tokens that they leave here."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from reference_server.mail.dialects import DIALECTS, Habits, quoted
from reference_server.mail.mailbox import INBOX, Refused
from reference_server.mail.settings import MailSettings
from reference_server.turn_secret import turn_line

from .arguments import expect, mailbox_name, text_of
from .context import Context, Steps, ask
from .events import GetMetadata, SetDeviceToken
from .parser import Argument, Atom, BadSyntax, Command

__all__ = ["DEVICE_TOKEN", "below", "get_metadata", "server_metadata", "set_metadata"]

COMMENT = "/shared/comment"
ADMIN = "/shared/admin"
VENDOR = "/shared/vendor/deltachat"
DEVICE_TOKEN = "/private/devicetoken"  # noqa: S105 - the name of an entry
NO_APP_VERSIONS = json.dumps(
    {
        "clients": [
            {
                "clientId": "deltachat",
                "sources": [
                    {
                        "sourceId": "gplay",
                        "versionInteger": 0,
                        "versionString": "0",
                        "downloadUrl": "https://download.delta.chat/",
                    }
                ],
            }
        ]
    },
    separators=(",", ":"),
)
"""In the form that cores read, and newer than no app."""
DEPTHS = {"0": 0, "1": 1, "INFINITY": None}

_ENTRY = re.compile(r"(?:/[ -$&-)+-.0-~]+)+")
"""A name (RFC 5464 section 3.2): no `*`, no `%`, nothing empty between slashes. Spaces are characters like others."""

Entries = Mapping[str, str | None]
"""From key to value; None is written as NIL."""


def below(key: str, wanted: Iterable[str], depth: int | None) -> bool:
    """True for one of the keys, or one so many levels below one of them (None: any number)."""
    for each in wanted:
        if key == each:
            return True
        if key.startswith(each.rstrip("/") + "/") and (
            depth is None or key.count("/", len(each.rstrip("/"))) <= depth
        ):
            return True
    return False


def server_metadata(
    settings: MailSettings, turn_secret: str | None, keys: Iterable[str], depth: int | None = 0
) -> Entries:
    """Those of `keys` that the server knows, and those below. A key without a value is left out, but for
    comment and admin in a dialect that answers them with NIL."""
    wanted = tuple(keys)
    known: dict[str, Callable[[], str | None]] = {
        COMMENT: lambda: settings.comment,
        ADMIN: lambda: settings.admin,
        f"{VENDOR}/irohrelay": lambda: settings.iroh_relay_url,
        f"{VENDOR}/turn": lambda: _turn_line(settings.turn_address, turn_secret, settings.turn_ttl),
        f"{VENDOR}/turns": lambda: _turn_line(settings.turns_address, turn_secret, settings.turn_ttl),
        **_own_metadata(settings),
    }
    nil = (COMMENT, ADMIN) if DIALECTS[settings.dialect].unset_metadata_is_nil else ()
    values = {key: make() for key, make in known.items() if below(key, wanted, depth)}
    return {key: value for key, value in values.items() if value is not None or key in nil}


def _own_metadata(settings: MailSettings) -> dict[str, Callable[[], str | None]]:
    """Entries of the dialect."""
    has_turn = settings.turn_address is not None or settings.turns_address is not None
    values = {
        "maxsmtprecipients": str(settings.limits.recipients),
        "appversions": settings.app_versions or NO_APP_VERSIONS,
        "turn-test-relay-only": "1" if settings.turn_test_relay_only and has_turn else None,
    }
    own = DIALECTS[settings.dialect].own_metadata
    return {f"{VENDOR}/{name}": partial(values.get, name) for name in values if name in own}


def _turn_line(address: str | None, secret: str | None, ttl: int) -> str | None:
    """Fresh credentials at each call."""
    return None if address is None or secret is None else turn_line(address, secret, ttl)


@dataclass(frozen=True)
class _Request:
    mailbox: str
    keys: tuple[str, ...]
    depth: int | None = 0
    max_size: int | None = None


def get_metadata(context: Context, command: Command) -> Steps:
    request = _parse(command.arguments)
    entries = yield from ask(GetMetadata(request.mailbox, request.keys, request.depth))
    sizes = {key: len((value or "").encode()) for key, value in entries.items()}
    limit = request.max_size
    short = {key: value for key, value in entries.items() if limit is None or sizes[key] <= limit}
    if short:  # the grammar has no empty list
        context.write(_render(request.mailbox, short, context.profile.habits))
    if len(short) < len(entries):
        return f"[METADATA LONGENTRIES {max(sizes.values())}] {context.completed(command.name)}"
    return None


def _render(mailbox: str, entries: Entries, habits: Habits) -> bytes:
    pairs = b" ".join(
        key.encode() + b" " + (b"NIL" if value is None else habits.metadata_value(value))
        for key, value in entries.items()
    )
    return b"* METADATA " + quoted(mailbox) + b" (" + pairs + b")"


def _parse(arguments: Sequence[Argument]) -> _Request:
    """Options stand before the mailbox in the RFC's grammar and behind it in one of its examples; both are read."""
    if len(arguments) == 2:
        mailbox, keys = arguments
        return _Request(mailbox_name(mailbox), _keys(keys))
    first, second, keys = expect(3, arguments)
    options, mailbox = (first, second) if isinstance(first, tuple) else (second, first)
    if not isinstance(options, tuple) or len(options) % 2:
        raise BadSyntax("GETMETADATA options are a list of names and values")
    words = [text_of(option).upper() for option in options]
    given = dict(zip(words[::2], words[1::2], strict=True))
    depth, max_size = given.pop("DEPTH", "0"), given.pop("MAXSIZE", None)
    if (
        given
        or depth not in DEPTHS
        or not (max_size is None or (max_size.isdecimal() and len(max_size) <= 10))
    ):
        raise BadSyntax("GETMETADATA options are MAXSIZE with a number and DEPTH with 0, 1 or infinity")
    return _Request(
        mailbox_name(mailbox), _keys(keys), DEPTHS[depth], None if max_size is None else int(max_size)
    )


def _keys(argument: Argument) -> tuple[str, ...]:
    """One entry name or a list of them, each once, in lower case (RFC 5464 section 3.1)."""
    entries = argument if isinstance(argument, tuple) else (argument,)
    keys = [text_of(entry).lower() for entry in entries]
    if not keys or not all(map(_ENTRY.fullmatch, keys)):
        raise BadSyntax("A METADATA entry is like /shared/comment, without wildcards")
    return tuple(dict.fromkeys(keys))


def set_metadata(context: Context, command: Command) -> Steps:
    """Only device tokens of the inbox: setting one adds it, NIL removes all."""
    name, entries = expect(2, command.arguments)
    mailbox = mailbox_name(name)
    if not isinstance(entries, tuple) or not entries or len(entries) % 2:
        raise BadSyntax("SETMETADATA needs a list of entries and values")
    keys = [key for entry in entries[::2] for key in _keys(entry)]
    if mailbox != INBOX or set(keys) != {DEVICE_TOKEN}:
        raise Refused("NOPERM", f"Only {DEVICE_TOKEN} of INBOX can be set")
    for value in entries[1::2]:
        yield from ask(SetDeviceToken(_token(value, context.limits.device_token)))
    return None


def _token(argument: Argument, limit: int) -> str | None:
    if isinstance(argument, Atom) and argument.text.upper() == "NIL":
        return None
    token = text_of(argument)
    if len(token) > limit:
        raise Refused(f"METADATA MAXSIZE {limit}", "The value is too long")
    if not token.isprintable() or not token or " " in token:
        raise Refused("CANNOT", "A device token is one printable word")
    return token
