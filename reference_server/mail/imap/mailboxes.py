"""Commands about mailboxes (RFC 3501 section 6.3), quota (RFC 2087) and namespaces (RFC 2342)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from reference_server.mail.dialects import quoted
from reference_server.mail.mailbox import FLAGS, HIERARCHY, Folder, Mailbox, Refused, above

from .arguments import (
    STATUS_ITEMS,
    ListPattern,
    date_time,
    expect,
    flags_of,
    mailbox_name,
    new_mailbox_name,
    status_items,
    text_of,
)
from .context import Context, Steps, Want, ask
from .events import (
    Append,
    CreateMailbox,
    DeleteMailbox,
    Event,
    FindMailbox,
    GetQuota,
    GetStatus,
    ListMailboxes,
    OpenMailbox,
    RenameMailbox,
    Subscribe,
)
from .parser import Argument, BadSyntax, Command
from .states import State
from .view import View

__all__ = [
    "append",
    "create",
    "delete",
    "find_target",
    "get_quota",
    "get_quota_root",
    "list_mailboxes",
    "namespace",
    "rename",
    "select",
    "status",
    "subscribe",
]

QUOTA_ROOT = "User quota"


def select(context: Context, command: Command) -> Steps:
    """Also EXAMINE. Whatever happens, the mailbox that was open is closed."""
    (name,) = expect(1, command.arguments)
    context.unselect()
    mailbox = yield from ask(FindMailbox(mailbox_name(name), watch=True))
    context.changed = False
    read_only = command.name == "EXAMINE"
    opened = yield from ask(OpenMailbox(mailbox, claim=not read_only))
    context.view = View(opened, read_only=read_only)
    context.state = State.SELECTED
    _describe(context, opened, context.view)
    return f"[READ-{'ONLY' if read_only else 'WRITE'}] {command.name} completed"


def _describe(context: Context, mailbox: Mailbox, view: View) -> None:
    flags = " ".join((*FLAGS, *mailbox.keywords))
    permanent = "" if view.read_only else f"{flags} \\*" if mailbox.more_keywords else flags
    context.untagged(f"FLAGS ({flags})")
    context.untagged(f"OK [PERMANENTFLAGS ({permanent})] Flags permitted")
    context.untagged(f"{len(view)} EXISTS")
    context.untagged(f"{view.recent} RECENT")
    if unseen := view.first_unseen():
        context.untagged(f"OK [UNSEEN {unseen}] First unseen")
    context.untagged(f"OK [UIDVALIDITY {mailbox.uid_validity}] UIDs valid")
    context.untagged(f"OK [UIDNEXT {mailbox.uid_next}] Predicted next UID")


def create(_context: Context, command: Command) -> Steps:
    (name,) = expect(1, command.arguments)
    yield from ask(CreateMailbox(new_mailbox_name(name)))
    return None


def delete(_context: Context, command: Command) -> Steps:
    (name,) = expect(1, command.arguments)
    yield from ask(DeleteMailbox(mailbox_name(name)))
    return None


def rename(_context: Context, command: Command) -> Steps:
    old, new = expect(2, command.arguments)
    yield from ask(RenameMailbox(mailbox_name(old), new_mailbox_name(new)))
    return None


def subscribe(_context: Context, command: Command) -> Steps:
    """Also UNSUBSCRIBE."""
    (name,) = expect(1, command.arguments)
    yield from ask(Subscribe(mailbox_name(name), command.name == "SUBSCRIBE"))
    return None


def list_mailboxes(context: Context, command: Command) -> Steps:
    """Also LSUB."""
    reference, pattern = (text_of(argument) for argument in expect(2, command.arguments))
    if not pattern:
        context.untagged(f'{command.name} (\\Noselect) "{HIERARCHY}" ""')
        return None
    wanted = ListPattern(reference + pattern)
    folders = yield from ask(ListMailboxes())
    listed = _listed(folders, wanted) if command.name == "LIST" else _subscribed(folders, wanted)
    for name, attribute in sorted(listed.items()):
        context.write(f'* {command.name} ({attribute}) "{HIERARCHY}" '.encode() + _name(name))
    return None


def _listed(folders: Sequence[Folder], wanted: ListPattern) -> dict[str, str]:
    """From names to what CHILDREN (RFC 3348) says of them: whether there is something below."""
    parents = {name for folder in folders for name in above(folder.name)}
    return {
        folder.name: "\\HasChildren" if folder.name in parents else "\\HasNoChildren"
        for folder in folders
        if wanted.matches(folder.name)
    }


def _subscribed(folders: Sequence[Folder], wanted: ListPattern) -> dict[str, str]:
    """Also the parents, at a `%`, of those that are too deep for it (RFC 3501 section 6.3.9)."""
    subscribed = {folder.name for folder in folders if folder.subscribed}
    shown = {name: child for name, child in _listed(folders, wanted).items() if name in subscribed}
    too_deep = subscribed - shown.keys() if wanted.has_levels else set()
    parents = {name for deep in too_deep for name in above(deep)}
    return shown | {name: "\\Noselect" for name in parents - subscribed if wanted.matches(name)}


def status(context: Context, command: Command) -> Steps:
    name, wanted = expect(2, command.arguments)
    items = status_items(wanted)
    mailbox = yield from ask(FindMailbox(mailbox_name(name)))
    found = yield from ask(GetStatus(mailbox))
    values = (found.messages, found.recent, found.uid_next, found.uid_validity, found.unseen)
    known = dict(zip(STATUS_ITEMS, values, strict=True))
    pairs = " ".join(f"{item} {known[item]}" for item in items)
    context.write(b"* STATUS %b (%b)" % (_name(mailbox_name(name)), pairs.encode()))
    return None


def namespace(context: Context, _command: Command) -> None:
    context.untagged(f'NAMESPACE (("" "{HIERARCHY}")) NIL NIL')


def get_quota_root(context: Context, command: Command) -> Steps:
    (name,) = expect(1, command.arguments)
    context.write(b"* QUOTAROOT " + quoted(text_of(name)) + b" " + quoted(QUOTA_ROOT))
    yield from _tell_quota(context)
    return None


def get_quota(context: Context, command: Command) -> Steps:
    (root,) = expect(1, command.arguments)
    if text_of(root) != QUOTA_ROOT:
        raise Refused("NONEXISTENT", "There is no such quota root")
    yield from _tell_quota(context)
    return None


def _tell_quota(context: Context) -> Steps:
    used, limit = yield from ask(GetQuota())
    context.untagged(f'QUOTA "{QUOTA_ROOT}" (STORAGE {-(-used // 1024)} {limit // 1024})')
    return None


def append(_context: Context, command: Command) -> Steps:
    """`APPEND mailbox [(flags)] ["date-time"] literal`."""
    name, *options, content = command.arguments if len(command.arguments) > 1 else ("", "")
    if not isinstance(content, bytes) or isinstance(name, str):
        raise BadSyntax("APPEND needs a mailbox and a message as a literal")
    if not content:
        raise Refused("CANNOT", "There is no message")
    flags: frozenset[str] = frozenset()
    if options and isinstance(options[0], tuple):
        flags = flags_of(options.pop(0))  # type: ignore[arg-type]
    received = date_time(options.pop(0)) if options else None
    if options:
        raise BadSyntax("APPEND has flags and a date at most")
    mailbox = yield from find_target(name)
    added = yield from ask(Append(mailbox, content, flags, received))
    return f"[APPENDUID {added.uid_validity} {added.uid}] APPEND completed"


def find_target(name: Argument) -> Generator[Event[Any] | Want, Any, int]:
    """Mailbox that messages are to go to. A client may try again when it has created it (RFC 3501 section 6.3.11)."""
    try:
        return (yield from ask(FindMailbox(mailbox_name(name))))
    except Refused as error:
        if error.code == "NONEXISTENT":
            raise Refused("TRYCREATE", "There is no such mailbox") from error
        raise


def _name(name: str) -> bytes:
    return name.encode() if name.isalnum() else quoted(name)
