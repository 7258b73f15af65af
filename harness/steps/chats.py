"""Chats between devices: people who know each other, what they send, and what arrives."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..clients.core.core import Account, CoreError, SendFailed, befriend
from ..clients.device import Device
from ..scratch import scratch_directory
from ..stage.outcome import Outcome, promised
from ..stage.stage import Stage

if TYPE_CHECKING:
    from deltachat_rpc_client import AttrDict, Chat

__all__ = [
    "expect_nothing_else",
    "file_of",
    "friends",
    "in_mib",
    "longest_transfer",
    "send_file",
    "send_text",
    "text_in_group",
]

MIB = 1024 * 1024
BYTES_PER_SECOND = 100_000
"""Slowest transfer of a file that is not a failure."""
TEXT_WITHIN = 30.0
"""Seconds until a text is there; a second is usual."""
JOIN_WITHIN = 40.0
"""Seconds for a secure join, which is four mails."""


@contextmanager
def friends(stage: Stage, *names: str) -> Iterator[tuple[Device, ...]]:
    """Devices on one host, of which the first is a contact of each of the others by secure join, and the other way."""
    with stage.people(*names) as people:
        first, *others = people
        for other in others:
            what = f"{first.name} and {other.name} do not become contacts by secure join"
            with promised(SendFailed, CoreError, what=what):
                befriend(first.account, other.account, within=JOIN_WITHIN)
        yield people


def send_text(outcome: Outcome, sender: Device, receiver: Device, text: str) -> None:
    """One text from device to device: it arrives, encrypted, and from whom it should."""
    lost = f"a text of {sender.name} does not reach {receiver.name}"
    with outcome.expect_to_arrive(SendFailed, what=lost):
        sender.account.wait_until_sent(sender.account.send_text(receiver.account, text))
        message = receiver.account.wait_for_message(text, within=TEXT_WITHIN)
        outcome.expect(
            message.sender == sender.account.address,
            f"a text of {sender.name} comes from {message.sender} at {receiver.name}",
        )
        outcome.expect(
            _is_encrypted(receiver.account, message.id),
            f"a text of {sender.name} was not encrypted when {receiver.name} got it",
        )


def text_in_group(
    outcome: Outcome, name: str, sender: Device, receivers: Sequence[Device], text: str
) -> None:
    """One text to everybody in a group in which the sender already is: each gets it there, encrypted."""
    [group] = [chat for chat in sender.account.client.get_chatlist() if _name(chat) == name]
    with outcome.expect_to_arrive(SendFailed, what=f"a text of {sender.name} to the group is not sent"):
        sender.account.wait_until_sent(group.send_text(text))
    for receiver in receivers:
        lost = f"a text of {sender.name} to the group does not reach {receiver.name}"
        with outcome.expect_to_arrive(what=lost):
            found = receiver.account.wait_for_message(text, within=TEXT_WITHIN)
            message = receiver.account.client.get_message_by_id(found.id).get_snapshot()
            outcome.expect(
                _name(message.chat) == name,
                f"a text of {sender.name} to the group is in another chat at {receiver.name}",
            )
            outcome.expect(
                message.show_padlock,
                f"a text of {sender.name} to the group was not encrypted when {receiver.name} got it",
            )


def send_file(outcome: Outcome, sender: Device, receiver: Device, size: int) -> None:
    """One file of `size` bytes from device to device: it arrives as it was."""
    text, within = f"a file of {size} bytes", longest_transfer(size)
    lost = f"a file of {in_mib(size)} of {sender.name} does not reach {receiver.name}"
    with file_of(size) as file, outcome.expect_to_arrive(SendFailed, what=lost):
        sent = sender.account.send_file(receiver.account, file, text=text)
        sender.account.wait_until_sent(sent, within=within)
        received = receiver.account.wait_for_message(text, within=within)
        outcome.expect(
            received.file is not None and received.sha256() == hashlib.sha256(file.read_bytes()).hexdigest(),
            f"a file of {in_mib(size)} is another one when {receiver.name} gets it (SHA-256)",
        )


@contextmanager
def file_of(size: int) -> Iterator[Path]:
    """A file of so many bytes that cannot be compressed, for as long as the block lasts."""
    with scratch_directory("file") as directory:
        file = directory / "file.bin"
        file.write_bytes(os.urandom(size))
        yield file


def longest_transfer(size: int) -> float:
    """Seconds that a file of so many bytes may take on its way, encryption included."""
    return 60.0 + size / BYTES_PER_SECOND


def in_mib(size: int) -> str:
    """A size for people."""
    return f"{size / MIB:.3g} MiB"


def expect_nothing_else(outcome: Outcome, expected: Sequence[tuple[Device, int]]) -> None:
    """Every device has got as many messages as were sent to it: nothing arrived twice."""
    for device, number in expected:
        arrived = len(device.account.events("IncomingMsg"))
        outcome.expect(
            arrived == number, f"{device.name} got {arrived} messages, where {number} were sent to it"
        )


def _name(chat: Chat | AttrDict) -> str:
    return str(chat.get_basic_snapshot().name)


def _is_encrypted(account: Account, message: int) -> bool:
    return bool(account.client.get_message_by_id(message).get_snapshot().show_padlock)
