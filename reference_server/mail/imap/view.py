"""One client's knowledge of its mailbox: the UIDs behind its sequence numbers, and their flags."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from reference_server.mail.mailbox import FLAGS, RECENT, Mailbox, Message, MessageFlags

from .parser import SequenceSet

__all__ = ["View", "flag_list"]


def flag_list(flags: Iterable[str]) -> bytes:
    """Those of the system in their order, then keywords."""
    found = set(flags)
    known = [flag for flag in (*FLAGS, RECENT) if flag in found]
    return b"(" + " ".join([*known, *sorted(found.difference(known))]).encode() + b")"


class View:
    """Updates return the untagged responses that bring the client's picture up to date, without line ends."""

    def __init__(self, mailbox: Mailbox, *, read_only: bool) -> None:
        self.mailbox = mailbox.id
        self.read_only = read_only
        self._uids = [message.uid for message in mailbox.messages]
        self._flags = {message.uid: message.flags for message in mailbox.messages}
        self._recent = {message.uid for message in mailbox.messages if message.recent}
        self._known_flags = {*FLAGS, *mailbox.keywords}

    def __len__(self) -> int:
        return len(self._uids)

    def sequence_number(self, uid: int) -> int:
        return bisect_left(self._uids, uid) + 1

    @property
    def recent(self) -> int:
        """Number of messages that this session was the first to be told of."""
        return len(self._recent)

    def flags(self, uid: int) -> frozenset[str]:
        """As the client knows them."""
        return self.told(uid, self._flags[uid])

    def told(self, uid: int, flags: frozenset[str]) -> frozenset[str]:
        """The flags of a message with `\\Recent` where it is that to this session."""
        return flags | {RECENT} if uid in self._recent else flags

    def differs(self, message: Message) -> bool:
        """True when its flags are not those that the client knows."""
        return self._flags[message.uid] != message.flags

    def __contains__(self, uid: int) -> bool:
        return uid in self._flags

    def uids(self) -> Sequence[int]:
        return self._uids

    def select(self, chosen: SequenceSet, *, uid: bool) -> list[int]:
        """The UIDs that a set of UIDs, or of sequence numbers, stands for."""
        if uid:
            return chosen.select(self._uids)
        return [self._uids[number - 1] for number in chosen.select(range(1, len(self._uids) + 1))]

    def first_unseen(self) -> int | None:
        """A sequence number."""
        unseen = (uid for uid in self._uids if "\\Seen" not in self._flags[uid])
        return next((self.sequence_number(uid) for uid in unseen), None)

    def set_flags(self, uid: int, flags: frozenset[str]) -> list[bytes]:
        responses = self.note_flags(uid, flags)
        number = self.sequence_number(uid)
        return [*responses, b"* %d FETCH (UID %d FLAGS %b)" % (number, uid, flag_list(self.flags(uid)))]

    def note_flags(self, uid: int, flags: frozenset[str]) -> list[bytes]:
        """The flags of a message are about to be told by other words; keywords that are new are told before."""
        self._flags[uid] = flags
        if flags <= self._known_flags:
            return []
        self._known_flags |= flags
        return [b"* FLAGS " + flag_list(self._known_flags)]

    def remove(self, uids: Iterable[int]) -> list[bytes]:
        """EXPUNGE responses, from the end on, so that no number changes before it is named."""
        responses = []
        for uid in sorted(uids, reverse=True):
            if uid in self._flags:
                number = self.sequence_number(uid)
                del self._uids[number - 1], self._flags[uid]
                self._recent.discard(uid)
                responses.append(b"* %d EXPUNGE" % number)
        return responses

    def update(self, messages: Sequence[MessageFlags], *, may_expunge: bool) -> tuple[list[bytes], bool]:
        """Catch up with the store. False: expunged messages are left to be told another time."""
        present = {message.uid for message in messages}
        gone = [uid for uid in self._uids if uid not in present]
        responses = self.remove(gone) if may_expunge else []
        known = len(self._uids)
        for message in messages:
            if message.uid not in self._flags:
                self._uids.append(message.uid)
                if message.recent:
                    self._recent.add(message.uid)
                responses += self.note_flags(message.uid, message.flags)
            elif self._flags[message.uid] != message.flags:
                responses += self.set_flags(message.uid, message.flags)
        if len(self._uids) > known:
            responses += [b"* %d EXISTS" % len(self._uids), b"* %d RECENT" % self.recent]
        return responses, may_expunge or not gone
