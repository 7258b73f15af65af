"""Commands about the messages of the open mailbox (RFC 3501 section 6.4, RFC 4315, RFC 6851, RFC 3691)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

from reference_server.mail.mailbox import Copied, Part

from .arguments import expect, flags_of, store_item, text_of
from .context import Context, Steps, Want, ask
from .events import ChangeFlags, Copy, Event, Expunge, FetchMessages, Move
from .fetch import parse_fetch
from .mailboxes import find_target
from .parser import Argument, BadSyntax, Command, SequenceSet
from .search import Candidate, parse_search

__all__ = ["close", "copy", "expunge", "fetch", "move", "search", "store", "unselect"]

BATCH = 100
"""Messages that are read at once when only their headers are wanted; with their text it is one."""


def _chosen(context: Context, command: Command, argument: Argument) -> tuple[int, ...]:
    """The UIDs of the messages that a command is about, as its client numbers them."""
    return tuple(context.selected.select(SequenceSet(text_of(argument)), uid=_by_uid(command)))


def _by_uid(command: Command) -> bool:
    return command.name.startswith("UID ")


def fetch(context: Context, command: Command) -> Steps:
    """In batches, each sent before the next is read: a large mailbox does not have to fit in memory."""
    chosen, items = expect(2, command.arguments)
    view = context.selected
    request = parse_fetch(items, uid=_by_uid(command))
    uids = _chosen(context, command, chosen)
    mark_seen = request.marks_seen and not view.read_only
    step = 1 if request.part is Part.ALL else BATCH
    for start in range(0, len(uids), step):
        batch = uids[start : start + step]
        for message in (yield from ask(FetchMessages(view.mailbox, batch, request.part, mark_seen))):
            told = replace(message, flags=view.told(message.uid, message.flags))
            number = view.sequence_number(message.uid)
            response = request.render(number, told, tell_flags=view.differs(message))
            context.write_all(view.note_flags(message.uid, message.flags))
            context.write(response)
    return None


def store(context: Context, command: Command) -> Steps:
    if len(command.arguments) < 3:
        raise BadSyntax("STORE needs a set, an item and flags")
    chosen, item, *flags = command.arguments
    change, silent = store_item(item)
    wanted = flags_of(flags)
    view = context.for_writing()
    uids = _chosen(context, command, chosen)
    for message in (yield from ask(ChangeFlags(view.mailbox, uids, change, wanted))):
        if message.uid in view:
            responses = view.set_flags(message.uid, message.flags)
            context.write_all(responses[:-1] if silent else responses)
    return None


def search(context: Context, command: Command) -> Steps:
    """First what the view knows, then headers or whole messages, in batches, of those that are left."""
    view = context.selected
    criteria = parse_search(command.arguments, view)
    uids = [uid for uid in view.uids() if criteria.possible(Candidate(uid, view.flags(uid)))]
    if criteria.needs is not None:
        uids = yield from _search_messages(context, criteria.needs, criteria.matches, uids)
    numbers = uids if _by_uid(command) else [view.sequence_number(uid) for uid in uids]
    context.untagged(" ".join(["SEARCH", *map(str, numbers)]))
    return None


def _search_messages(
    context: Context, part: Part, matches: Any, uids: Sequence[int]
) -> Generator[Event[Any] | Want, Any, list[int]]:
    found: list[int] = []
    view = context.selected
    step = 1 if part is Part.ALL else BATCH
    for start in range(0, len(uids), step):
        batch = tuple(uids[start : start + step])
        for message in (yield from ask(FetchMessages(view.mailbox, batch, part, mark_seen=False))):
            if matches(Candidate(message.uid, view.flags(message.uid), message)):
                found.append(message.uid)
    return found


def copy(context: Context, command: Command) -> Steps:
    chosen, name = expect(2, command.arguments)
    uids = _chosen(context, command, chosen)
    target = yield from find_target(name)
    copied = yield from ask(Copy(context.selected.mailbox, uids, target))
    return f"{_copy_uid(copied)}{command.name} completed"


def move(context: Context, command: Command) -> Steps:
    """The client hears where they are before it hears that they are gone (RFC 6851 section 4.3)."""
    chosen, name = expect(2, command.arguments)
    view = context.for_writing()
    uids = _chosen(context, command, chosen)
    target = yield from find_target(name)
    moved = yield from ask(Move(view.mailbox, uids, target))
    if moved.source:
        context.untagged(f"OK {_copy_uid(moved)}Moved")
        context.write_all(view.remove(moved.source))
    return None


def _copy_uid(copied: Copied) -> str:
    if not copied.source:
        return ""
    source, target = (",".join(map(str, uids)) for uids in (copied.source, copied.target))
    return f"[COPYUID {copied.uid_validity} {source} {target}] "


def expunge(context: Context, command: Command) -> Steps:
    """Also UID EXPUNGE (RFC 4315)."""
    among: tuple[int, ...] | None = None
    if _by_uid(command):
        (chosen,) = expect(1, command.arguments)
        among = _chosen(context, command, chosen)
    view = context.for_writing()
    gone = yield from ask(Expunge(view.mailbox, among))
    context.write_all(view.remove(gone))
    return None


def close(context: Context, _command: Command) -> Steps:
    """Expunges without a word."""
    if not context.selected.read_only:
        yield from ask(Expunge(context.selected.mailbox))
    context.unselect()
    return None


def unselect(context: Context, _command: Command) -> None:
    context.unselect()
