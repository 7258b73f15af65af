"""SEARCH (RFC 3501 section 6.4.4), as far as a view can answer it: flags, UIDs and sequence numbers."""

from __future__ import annotations

from collections.abc import Sequence

from reference_server.mail.mailbox import FLAGS

from .arguments import text_of
from .parser import Argument, BadSyntax, SequenceSet
from .view import View

__all__ = ["search"]

_FLAG_KEYS = {flag[1:].upper(): flag for flag in FLAGS}


def search(view: View, arguments: Sequence[Argument]) -> list[int]:
    """UIDs, ascending, of the messages that match all keys. Raises `BadSyntax`."""
    if not arguments:
        raise BadSyntax("SEARCH needs a key")
    keys = [text_of(argument).upper() for argument in arguments]
    found = set(view.uids())
    while keys:
        key = keys.pop(0)
        if key in _FLAG_KEYS:
            found = {uid for uid in found if _FLAG_KEYS[key] in view.flags(uid)}
        elif key.removeprefix("UN") in _FLAG_KEYS:
            found = {uid for uid in found if _FLAG_KEYS[key.removeprefix("UN")] not in view.flags(uid)}
        elif key == "UID":
            if not keys:
                raise BadSyntax("The key UID needs a set")
            found &= set(view.select(SequenceSet(keys.pop(0)), uid=True))
        elif key[:1].isdigit() or key[:1] == "*":
            found &= set(view.select(SequenceSet(key), uid=False))
        elif key != "ALL":
            raise BadSyntax("This server does not serve that SEARCH key")
    return sorted(found)
