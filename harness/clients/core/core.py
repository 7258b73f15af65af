"""Real Delta Chat core processes: one `Core` is one process, with accounts that send, receive and wait.

Core's own log (its Info, Warning and Error events) is evidence: what a client says about itself, apart from what a
server says about the client. It is kept in memory and written beside core's stderr when a core is closed.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...accounts import Credentials
from ...closing import Closing
from ...hosts import Host, LocalHost
from ...scratch import scratch_directory
from ...target import Target
from ...waiting import Deadline, wait_until
from . import iroh_trace
from .eras import ANNOUNCED, Era
from .errors import CoreDied, CoreError
from .versions import bundled_binary

if TYPE_CHECKING:
    from deltachat_rpc_client import Account as ClientAccount
    from deltachat_rpc_client import Chat, Message

__all__ = [
    "Account",
    "CallMessage",
    "Core",
    "CoreDied",
    "CoreError",
    "CoreEvent",
    "LogLine",
    "ReceivedMessage",
    "SendFailed",
    "Webxdc",
    "befriend",
]

LOG_LEVELS = ("Info", "Warning", "Error")
DONE = 1000
"""Progress of a secure join that is complete."""


class SendFailed(Exception):
    """The server refused a message of ours. The text has its words."""


@dataclass(frozen=True)
class CoreEvent:
    """Something that core reported: unix seconds, kind as in deltachat-rpc-client, and the rest of it."""

    time: float
    kind: str
    fields: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]


@dataclass(frozen=True)
class LogLine:
    """A line of core's own log. `account` is core's number of it, 0 for the whole process."""

    time: float
    account: int
    level: str
    text: str


class Core(Closing):
    """A core process with its own accounts directory; `with Core(...) as core:` ends it whatever happens."""

    def __init__(
        self,
        logs: Path,
        *,
        name: str = "core",
        host: Host | None = None,
        binary: Path | None = None,
        within: float = 60.0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`binary`: another `deltachat-rpc-server` than the installed one; `within`: seconds for each answer."""
        self.name = name
        self.host = host or LocalHost()
        self.binary = binary or bundled_binary()
        self.changed = threading.Condition()
        """Notified at each event; guards the events of the accounts and the log."""
        self._events: dict[int, list[CoreEvent]] = {}
        self._log: list[LogLine] = []
        self._ended = False
        self.logs = logs
        logs.mkdir(parents=True, exist_ok=True)
        self._scratch = ExitStack()
        self._directory = self._scratch.enter_context(scratch_directory("core"))
        self._stderr = logs / f"{name}.stderr.log"
        self._log_file = logs / f"{name}.core.log"
        from .rpc import CoreRpc  # noqa: PLC0415 - the client library is slow to load

        self.rpc = CoreRpc(
            self.host,
            self.binary,
            accounts=self._directory / "accounts",
            stderr=self._stderr,
            sink=self._take,
            within=within,
            environment={"RUST_LOG": iroh_trace.FILTER, **(environment or {})},
        )
        try:
            self.rpc.start()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        return int(self.rpc.process.pid)

    @property
    def version(self) -> str:
        """As core writes it: `v2.65.0`."""
        return self.rpc.version

    @property
    def era(self) -> Era:
        """Properties in which this version differs from others."""
        return self.rpc.era

    @property
    def log(self) -> tuple[LogLine, ...]:
        """Core's own log so far."""
        with self.changed:
            return tuple(self._log)

    @property
    def log_files(self) -> tuple[Path, Path]:
        """Core's own log, written at close, and its stderr."""
        return self._log_file, self._stderr

    def iroh_trace(self) -> iroh_trace.IrohTrace:
        """Trace of the iroh endpoints of this process so far."""
        return iroh_trace.IrohTrace.parse(self._stderr.read_text(errors="replace"))

    def new_account(
        self, target: Target, credentials: Credentials | None = None, *, bot: bool = True
    ) -> Account:
        """Configure an account on the target (which creates it there) and return it; core starts its I/O itself.

        `bot`: set core's `bot` option, which switches its send limiter off; not for checks of policy or receipts.
        """
        credentials = credentials or target.new_account()
        client = self._add_account()
        client.set_config("bot", "1" if bot else "0")  # before I/O: the limiter reads it when it starts
        client.add_transport_from_qr(credentials.dclogin(target))
        return Account(self, client, credentials.address, bot)

    def import_account(self, backup: Path, *, like: Account) -> Account:
        """The account of a backup, as another device of the one that wrote it."""
        client = self._add_account()
        client.import_backup(backup)
        return Account(self, client, like.address, like.bot)

    def _add_account(self) -> ClientAccount:
        from deltachat_rpc_client import DeltaChat  # noqa: PLC0415 - slow to load

        return DeltaChat(self.rpc).add_account()

    def events_of(self, account: int) -> list[CoreEvent]:
        """The live list of an account's events. Hold `changed` while reading it."""
        return self._events.setdefault(account, [])

    def check_alive(self) -> None:
        """Raise `CoreDied` when the process has ended by itself."""
        if self._ended:
            raise self.rpc.died()

    def close(self) -> None:
        """End the process, keep its log, remove its accounts. A second call does nothing."""
        if not self._directory.exists():
            return
        try:
            if "process" in vars(self.rpc):  # the base class answers any other name with a remote method
                self.rpc.close()
        finally:
            self._scratch.close()
            with self._log_file.open("w") as file:
                for line in self.log:
                    file.write(f"{line.time:.6f} account={line.account} {line.level} {line.text}\n")

    def _take(self, batch: Sequence[Mapping[str, Any]], time: float) -> None:
        with self.changed:
            for each in batch:
                self._keep(int(each["contextId"]), each["event"], time)
            self._ended = not batch
            self.changed.notify_all()

    def _keep(self, account: int, event: Mapping[str, Any], time: float) -> None:
        kind = event["kind"]
        if kind in LOG_LEVELS:
            self._log.append(LogLine(time, account, kind, event["msg"]))
            return
        # First the data: AttrDict, which makes msgId to msg_id, would look into each of its numbers.
        data = {"data": bytes(event["data"])} if "data" in event else {}
        fields = self.rpc.attributes({**event, **data})
        self._events.setdefault(account, []).append(CoreEvent(time, kind, fields))


class Account:
    """One configured account of a core."""

    def __init__(self, core: Core, client: ClientAccount, address: str, bot: bool) -> None:
        self.core = core
        self.client = client
        self.id: int = client.id
        self.address = address
        self.bot = bot
        self._chats: dict[str, Chat] = {}

    def bring_online(self, *, within: float = 60.0) -> None:
        """Start I/O and wait until the inbox is watched: what is sent to this account now arrives at once."""
        before = len(self.events("ImapInboxIdle"))
        self.client.start_io()
        watched = self.follow("ImapInboxIdle", "the inbox to be watched", within=within)
        next(itertools.islice(watched, before, None))

    def add_server(self, target: Target, credentials: Credentials, *, within: float = 60.0) -> None:
        """Let this profile have an account on another server as well (core: a transport), and watch both inboxes.

        Raises `CoreUnsupported` for a core that has no profiles with several servers.
        """
        self.core.era.require_transports(self.core.version)
        self.go_offline()  # so that each inbox says anew that it is watched
        before = len(self.events("ImapInboxIdle"))
        self.client.add_transport_from_qr(credentials.dclogin(target))
        self.client.start_io()
        watched = self.follow("ImapInboxIdle", "both inboxes to be watched", within=within)
        next(itertools.islice(watched, before + 1, None))

    def go_offline(self) -> None:
        """Stop I/O: mail is not watched and realtime channels end, as on a phone that is put away."""
        self.client.stop_io()

    def export_backup(self, directory: Path, *, within: float = 60.0) -> Path:
        """Write a backup for another device into an empty directory; I/O stands still meanwhile."""
        self.go_offline()
        self.client.export_backup(directory)
        self.bring_online(within=within)
        [backup] = directory.iterdir()
        return backup

    @property
    def log(self) -> tuple[LogLine, ...]:
        """The lines of core's log about this account."""
        return tuple(line for line in self.core.log if line.account == self.id)

    def events(self, kind: str, **fields: Any) -> tuple[CoreEvent, ...]:
        """The events of one kind so far whose fields have these values."""
        with self.core.changed:
            return tuple(_matching(self.core.events_of(self.id), kind, fields))

    def events_from(self, position: int, kind: str, **fields: Any) -> tuple[tuple[CoreEvent, ...], int]:
        """As `events`, from a position on, 0 at first; and the position to go on from. Each event is seen once."""
        with self.core.changed:
            new = self.core.events_of(self.id)[position:]
        return tuple(_matching(new, kind, fields)), position + len(new)

    def follow(
        self, kind: str, what: str | None = None, *, within: float, **fields: Any
    ) -> Iterator[CoreEvent]:
        """The events of one kind with these values, past and coming, each once, for `within` seconds.

        Then it raises `WaitTimeout` with what was there instead, and `CoreDied` at once when the process ends.
        """
        deadline = Deadline(within)
        count = 0
        while True:
            yield wait_until(
                functools.partial(self._event, kind, fields, skip=count),
                f"{what or kind} at {self.address}",
                within=deadline.remaining(),
                seen=self._describe,
                woken_by=self.core.changed,
            )
            count += 1

    def wait_for(self, kind: str, what: str | None = None, *, within: float, **fields: Any) -> CoreEvent:
        """The first event of this kind with these values, past or coming; errors as in `follow`."""
        return next(self.follow(kind, what, within=within, **fields))

    def chat_with(self, friend: Account) -> Chat:
        """The chat with an account that we are befriended with."""
        try:
            return self._chats[friend.address]
        except KeyError:
            raise CoreError(f"{self.address} is not befriended with {friend.address}") from None

    def send_text(self, friend: Account, text: str) -> Message:
        """Queue a text message; `wait_until_sent` waits for the server's word."""
        return self.chat_with(friend).send_text(text)

    def send_file(self, friend: Account, path: Path, *, text: str | None = None) -> Message:
        """Queue a message with a file."""
        return self.chat_with(friend).send_message(text=text, file=str(path))

    def send_webxdc(self, friends: Sequence[Account], path: Path, *, text: str) -> Webxdc:
        """Send an app to one friend, or to a new group of them; `text` is what they find it by."""
        if len(friends) == 1:
            return Webxdc(self, self.send_file(friends[0], path, text=text).id)
        group = self.client.create_group(text)
        for friend in friends:
            group.add_contact(self.chat_with(friend).get_contacts()[0])
        return Webxdc(self, group.send_message(text=text, file=str(path)).id)

    def wait_until_sent(self, message: Message, *, within: float = 60.0) -> None:
        """Wait until the server has accepted a message. Raises `SendFailed` when it refused."""
        which = {"msg_id": message.id}
        event = wait_until(
            lambda: self._event("MsgFailed", which) or self._event("MsgDelivered", which),
            f"the server to accept message {message.id} of {self.address}",
            within=within,
            seen=self._describe,
            woken_by=self.core.changed,
        )
        if event.kind == "MsgFailed":
            raise SendFailed(f"{self.address} could not send: {message.get_snapshot().error}")

    def wait_for_message(self, text: str, *, within: float = 60.0) -> ReceivedMessage:
        """Wait for an incoming message with this text, completely downloaded."""
        deadline = Deadline(within)
        for event in self.follow("IncomingMsg", f"a message with the text {text!r}", within=within):
            message = self.client.get_message_by_id(event["msg_id"])
            if message.get_snapshot().text == text:
                return self._complete(message, deadline)
        raise AssertionError("follow ends with an exception")

    def wait_for_webxdc(self, text: str, *, within: float = 60.0) -> Webxdc:
        """Wait for an app that a friend sent with this text."""
        return Webxdc(self, self.wait_for_message(text, within=within).id)

    def place_call(self, friend: Account, offer: str, *, has_video: bool) -> CallMessage:
        """Call a friend, with the SDP of our offer."""
        core, chat = self.core, self.chat_with(friend).id
        number = core.era.place_call(core.rpc, self.id, chat, offer, has_video=has_video)
        return CallMessage(self, number)

    def _complete(self, message: Message, deadline: Deadline) -> ReceivedMessage:
        """Core reports a message when its first part is here; its file may still be on the way."""

        def downloaded() -> Any:
            snapshot = message.get_snapshot()
            return snapshot if snapshot.download_state == "Done" else None

        snapshot = wait_until(
            downloaded,
            f"message {message.id} at {self.address} to be downloaded",
            within=deadline.remaining(),
            seen=lambda: message.get_snapshot().download_state,
        )
        file = Path(snapshot.file) if snapshot.file else None
        return ReceivedMessage(message.id, snapshot.text, snapshot.sender.get_snapshot().address, file)

    def _event(self, kind: str, fields: Mapping[str, Any], *, skip: int = 0) -> CoreEvent | None:
        """One matching event so far. Called with `changed` held. Raises `CoreDied` if none can come any more."""
        matching = _matching(self.core.events_of(self.id), kind, fields)
        found = next(itertools.islice(matching, skip, None), None)
        if found is None:
            self.core.check_alive()
        return found

    def _describe(self) -> str:
        with self.core.changed:
            kinds = Counter(event.kind for event in self.core.events_of(self.id))
        complaints = [line.text for line in self.log if line.level != "Info"][-3:]
        counted = ", ".join(f"{kind} x{count}" for kind, count in sorted(kinds.items())) or "no events"
        return f"{counted}; core's last complaints: {complaints or 'none'}"


@dataclass(frozen=True)
class ReceivedMessage:
    """A message that arrived, with the path of its file if it has one."""

    id: int
    text: str
    sender: str
    file: Path | None

    def sha256(self) -> str:
        """The digest of the file, as hex."""
        if self.file is None:
            raise CoreError(f"message {self.id} has no file")
        return hashlib.sha256(self.file.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Webxdc:
    """An app in a chat, as one account has it, with its realtime channel."""

    account: Account
    msg_id: int

    def advertise(self) -> None:
        """Tell the others in the chat our node ID (in an encrypted message) and join the channel's swarm.

        Returns when core has an iroh endpoint, which takes seconds where the relay's host answers no STUN.
        """
        self._message.send_webxdc_realtime_advertisement()

    def send(self, data: bytes) -> None:
        """Send to everyone in the swarm at this moment; nobody keeps it for later."""
        self._message.send_webxdc_realtime_data(data)

    def leave(self) -> None:
        """Leave the swarm."""
        self.account.core.rpc.leave_webxdc_realtime(self.account.id, self.msg_id)

    def announced_node_ids(self) -> frozenset[str]:
        """The node IDs (64 hex digits) that others announced to this account for this app, from core's log."""
        found = (ANNOUNCED.search(line.text) for line in self.account.log)
        return frozenset(match[1] for match in found if match and int(match[2]) == self.msg_id)

    def received(self) -> tuple[CoreEvent, ...]:
        """Everything that arrived over the channel so far; `event["data"]` is bytes."""
        return self.received_from(0)[0]

    def received_from(self, position: int) -> tuple[tuple[CoreEvent, ...], int]:
        """Events that arrived from a position on; see `Account.events_from`."""
        return self.account.events_from(position, "WebxdcRealtimeData", msg_id=self.msg_id)

    @property
    def _message(self) -> Message:
        return self.account.client.get_message_by_id(self.msg_id)


@dataclass(frozen=True)
class CallMessage:
    """A call as one account has it: the message that rings."""

    account: Account
    msg_id: int

    def accept(self, answer: str) -> None:
        """Take an incoming call, with the SDP of our answer."""
        self.account.core.rpc.accept_incoming_call(self.account.id, self.msg_id, answer)

    def end(self) -> None:
        """Hang up; before the call is taken: decline it, or as the caller give up."""
        self.account.core.rpc.end_call(self.account.id, self.msg_id)

    def wait_for_answer(self, *, within: float) -> CoreEvent:
        """The event that the call was taken; `event["accept_call_info"]` is the SDP of the answer."""
        which = {"msg_id": self.msg_id}
        return self.account.wait_for("OutgoingCallAccepted", "the call to be taken", within=within, **which)

    def wait_for_end(self, *, within: float) -> CoreEvent:
        """The event that somebody ended the call."""
        return self.account.wait_for("CallEnded", "the call to end", within=within, msg_id=self.msg_id)

    @property
    def state(self) -> str:
        """State that the user sees: Alerting, Active, Completed, Declined, Canceled or Missed."""
        return str(self.account.core.rpc.call_info(self.account.id, self.msg_id)["state"]["kind"])


def befriend(inviter: Account, joiner: Account, *, within: float = 60.0) -> None:
    """Make two accounts verified contacts by secure join: afterwards each has a chat with the other."""
    deadline = Deadline(within)
    joiner.client.secure_join(inviter.client.get_qr_code())
    for account, side, friend in ((joiner, "Joiner", inviter), (inviter, "Inviter", joiner)):
        what = f"the secure join with {friend.address}"
        kind = f"Securejoin{side}Progress"
        for event in account.follow(kind, what, within=deadline.remaining(), progress=DONE):
            contact = account.client.get_contact_by_id(event["contact_id"])
            if contact.get_snapshot().address == friend.address:
                account._chats[friend.address] = contact.create_chat()
                break


def _matching(events: Sequence[CoreEvent], kind: str, fields: Mapping[str, Any]) -> Iterator[CoreEvent]:
    for event in events:
        if event.kind == kind and all(event.fields.get(name) == value for name, value in fields.items()):
            yield event
