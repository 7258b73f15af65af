"""Events of a ledger (docs/control-protocol.md) as sentences for a person."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from ..clients.control import Event
from ..text import clean

__all__ = ["event_line"]

NODE_ID_SHOWN = 10
"""Hex digits, as iroh shortens a node ID in its own logs."""

Fields = Mapping[str, Any]


def _node(fields: Fields) -> str:
    return f"node {str(fields.get('node_id'))[:NODE_ID_SHOWN]}"


def _keys(fields: Fields) -> str:
    return ", ".join(str(key).rpartition("/")[2] for key in fields.get("keys", ())) or "nothing"


SENTENCES: Mapping[tuple[str, str], Callable[[Fields], str]] = {
    ("mail", "login"): lambda f: f"{f['user']} logged in ({f['protocol']})",
    ("mail", "login_refused"): lambda f: f"a log-in was refused ({f['protocol']})",
    ("mail", "account_created"): lambda f: f"{f['user']} is a new account (by {f['by']})",
    ("mail", "metadata_read"): lambda f: f"{f['user']} reads METADATA: {_keys(f)}",
    ("mail", "message_accepted"): lambda f: (
        f"{f['sender']} sends {f['size']} bytes to {', '.join(map(str, f['recipients']))}"
    ),
    ("mail", "message_refused"): lambda f: f"a mail of {f['sender']} was refused with {f['code']}",
    ("iroh_relay", "login"): lambda f: f"{_node(f)} logged in from {f['remote']}",
    ("iroh_relay", "login_refused"): lambda f: f"a log-in from {f['remote']} was refused: {f['reason']}",
    ("iroh_relay", "disconnect"): lambda f: f"{_node(f)} left: {f['reason']}",
}
NAMES = {"mail": "mail", "iroh_relay": "relay"}


def event_line(service: str, event: Event) -> str:
    """One line: local time, service, what happened. Kinds that we do not know are shown field by field."""
    clock = time.strftime("%H:%M:%S", time.localtime(event.time))
    try:
        sentence = SENTENCES[service, event.kind](event.fields)
    except (KeyError, TypeError):
        details = ", ".join(f"{name} {value}" for name, value in event.fields.items())
        sentence = f"{event.kind}: {details}" if details else event.kind
    return clean(f"{clock}  {NAMES.get(service, service):5}  {sentence}")
