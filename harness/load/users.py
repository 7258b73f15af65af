"""Clients of a chatmail server without a core, as Locust users: `locust -f` this file.

One has an account and two connections for mail, waits in IDLE, writes to others, and now and then calls somebody or
joins a realtime channel. Locust has replaced the blocking parts of the standard library (gevent) before this module is
loaded, so each client is written as if it were alone. What is sent is counted, and what arrives is compared with it.
"""

from __future__ import annotations

import random
import re
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import gevent
from locust import User, between, events, task
from locust.exception import StopUser
from locust.runners import LocalRunner, MasterRunner, WorkerRunner

from harness.accounts import Credentials
from harness.calls.servers import TURN_KEY, TurnOffer
from harness.clients.mail.imap import ImapClient, ImapError
from harness.clients.mail.messages import encrypted_message
from harness.clients.mail.smtp import SmtpClient, SmtpError
from harness.clients.relay.client import RelayClient, RelayError
from harness.clients.turn.client import TurnClient, TurnError
from harness.errors import plain
from harness.hosts import LocalHost, MissingCapability
from harness.load.plan import LoadPlan
from harness.load.results import Carried, LoadResults, Step
from harness.servers.server import ServerError
from harness.stage.offers import IROH_RELAY_KEY
from harness.stage.options import Choice
from harness.text import clean
from harness.urls import RelayUrl, TurnUrl
from harness.waiting import WaitTimeout

ERRORS = (
    *(ImapError, SmtpError, TurnError, RelayError, MissingCapability, ServerError),
    *(WaitTimeout, OSError, ValueError, KeyError),
)
MESSAGE_SIZES = (600, 900, 1500, 3000, 9000, 60_000)
"""Bytes of ciphertext: short texts mostly, now and then a picture; the last ones are seldom."""
WEIGHTS = (30, 30, 20, 12, 6, 2)
CALL_SECONDS, PACKETS_PER_SECOND, PACKET = 2.0, 50, 160
"""20 ms of audio in each packet, in both directions."""
SWARM_FRAMES, SWARM_PAUSE = 20, 0.1
SWARM_SIZES = (120, 300, 1200)
"""Bytes of what gossip and QUIC make of a realtime channel."""
LOOK_EVERY = 20.0
"""Seconds in IDLE before it is entered anew."""
WITHIN = 30.0
MOST_ERRORS = 20
MARKER = re.compile(rb"^message-id: *<(load-[0-9a-f]+)@", re.IGNORECASE | re.MULTILINE)
WRITE_EVERY = 5.0

PLAN = LoadPlan.of_environment()
HOST = LocalHost()
CHANCE = random.SystemRandom()
TARGET = Choice.read(PLAN.option).open(HOST, Path(gettempdir())).target


class Totals:
    """Everything that the clients of this process sent and got."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.messages, self.media, self.frames = Carried(), Carried(), Carried()
        self.errors: Counter[str] = Counter()
        self.on_their_way: dict[str, tuple[float, int]] = {}
        """Marker of each message -> time of its submission, and size."""
        self.arrived: set[str] = set()
        self.addresses: list[str] = []

    def message_arrived(self, marker: str) -> tuple[float, int] | None:
        """When it was sent, and its size; None for one that came before."""
        if marker in self.arrived:
            self.messages.doubled += 1
            return None
        if (sent := self.on_their_way.pop(marker, None)) is None:
            return None
        self.arrived.add(marker)
        self.messages.add({"arrived": 1, "bytes_arrived": sent[1]})
        return sent

    def as_data(self) -> dict[str, Any]:
        return {
            "messages": vars(self.messages),
            "media": vars(self.media),
            "frames": vars(self.frames),
            "errors": dict(self.errors),
        }


totals = Totals()


class StepFailed(Exception):
    """A step went wrong, and was counted as such."""


def _remember(error: Exception) -> None:
    sentence = clean(plain(error))[:200]
    if sentence in totals.errors or len(totals.errors) < MOST_ERRORS:
        totals.errors[sentence] += 1


class ChatClient(User):
    """One person's device."""

    wait_time = between(4, 12)
    account: Credentials
    imap: ImapClient
    smtp: SmtpClient

    @contextmanager
    def step(self, service: str, name: str) -> Iterator[None]:
        """Count and time a step. Raises `StepFailed` where it fails."""
        began = time.monotonic()
        failure: Exception | None = None
        try:
            yield
        except ERRORS as error:
            failure = error
            _remember(error)
        self.took(service, name, time.monotonic() - began, failure)
        if failure is not None:
            raise StepFailed(name) from failure

    def took(self, service: str, name: str, seconds: float, failure: Exception | None = None) -> None:
        self.environment.events.request.fire(
            request_type=service,
            name=name,
            response_time=seconds * 1000,
            response_length=0,
            exception=failure,
            context={},
        )

    @property
    def may_send(self) -> bool:
        return time.monotonic() - totals.began < PLAN.sends_for

    def on_start(self) -> None:
        """Make an account, read METADATA, and wait for mail from now on."""
        try:
            with self.step("mail", "IMAP log-in"):
                self.account = TARGET.new_account()
                self.imap = ImapClient(HOST, TARGET, within=WITHIN)
                self.imap.login(self.account)
            with self.step("mail", "METADATA"):
                said = self.imap.get_metadata(TURN_KEY, IROH_RELAY_KEY)
                self.turn, self.relay = (
                    said[key].value if key in said else None for key in (TURN_KEY, IROH_RELAY_KEY)
                )
            with self.step("mail", "SELECT"):
                self.imap.select()
            with self.step("mail", "SMTP log-in"):
                self.smtp = SmtpClient(HOST, TARGET, within=WITHIN)
                self.smtp.login(self.account)
        except StepFailed:
            raise StopUser from None
        totals.addresses.append(self.account.address)
        self._idle = gevent.spawn(self._wait_for_mail)

    def on_stop(self) -> None:
        """Leave as an app does that is closed."""
        if hasattr(self, "_idle"):
            self._idle.kill()
        for connection in (getattr(self, "imap", None), getattr(self, "smtp", None)):
            if connection is not None:
                with suppress(*ERRORS):
                    connection.close()

    def _wait_for_mail(self) -> None:
        try:
            while True:
                # A message that comes between FETCH and IDLE is told of in neither; SELECT knows of it.
                while self.imap.select():
                    self._fetch()
                with suppress(WaitTimeout), self.imap.idle() as idle:
                    idle.wait_for_exists(within=LOOK_EVERY)
        except StepFailed:
            return
        except ERRORS as error:
            self.took("mail", "IDLE", 0.0, error)
            _remember(error)

    def _fetch(self) -> None:
        with self.step("mail", "FETCH"):
            messages = self.imap.fetch_all()
            uids = ",".join(str(each.uid) for each in messages)
            self.imap.command(rf"UID STORE {uids} +FLAGS.SILENT (\Deleted)")
            self.imap.command("EXPUNGE")
        for message in messages:
            self._look_at(message.data)

    def _look_at(self, data: bytes) -> None:
        if (found := MARKER.search(data)) is None:
            return
        sent = totals.message_arrived(found[1].decode())
        if sent is not None:
            self.took("mail", "from submission to arrival", time.monotonic() - sent[0])

    @task(10)
    def write(self) -> None:
        """Send an encrypted message to somebody."""
        if not self.may_send:
            return
        recipient = CHANCE.choice(totals.addresses)
        marker = f"load-{secrets.token_hex(8)}"
        size = CHANCE.choices(MESSAGE_SIZES, WEIGHTS)[0]
        message = encrypted_message(self.account.address, recipient, marker=marker, size=size)
        totals.on_their_way[marker] = time.monotonic(), len(message)
        try:
            with self.step("mail", "submission"):
                reply = self.smtp.submit(self.account.address, [recipient], message)
                if not reply.accepted:
                    raise SmtpError(f"a message was refused: {reply}")
        except StepFailed:
            totals.on_their_way.pop(marker, None)
            return
        totals.messages.add({"sent": 1, "bytes_sent": len(message)})

    @task(1)
    def call(self) -> None:
        """Both ends of a call, relayed from one allocation to the other."""
        if self.turn is None or not self.may_send:
            return
        with suppress(StepFailed), self.step("TURN", "a call of 2 s"):
            offer = TurnOffer.parse(self.turn)
            server = TurnUrl("udp", offer.host, offer.port)
            with (
                TurnClient(HOST, server, offer.credentials, within=WITHIN) as one,
                TurnClient(HOST, server, offer.credentials, within=WITHIN) as other,
            ):
                began = time.monotonic()
                relayed = [each.allocate().relayed for each in (one, other)]
                self.took("TURN", "two allocations", time.monotonic() - began)
                one.bind(0x4000, relayed[1])
                other.bind(0x4000, relayed[0])
                self._talk(one, other)
                for each in (one, other):
                    each.refresh(0)

    def _talk(self, one: TurnClient, other: TurnClient) -> None:
        sent: list[set[bytes]] = [set(), set()]
        arrived: list[list[bytes]] = [[], []]
        ends = (one, other)
        for _ in range(int(CALL_SECONDS * PACKETS_PER_SECOND)):
            for number, end in enumerate(ends):
                packet = b"\x80" + secrets.token_bytes(PACKET - 1)
                sent[number].add(packet)
                end.send_on_channel(0x4000, packet)
            gevent.sleep(1 / PACKETS_PER_SECOND)
        for number, end in enumerate(ends):
            with suppress(WaitTimeout):
                while len(arrived[number]) < len(sent[1 - number]):
                    arrived[number].append(end.receive(within=1.0).data)
        for number in (0, 1):
            right = [each for each in arrived[number] if each in sent[1 - number]]
            totals.media.add(
                {
                    "sent": len(sent[1 - number]),
                    "bytes_sent": PACKET * len(sent[1 - number]),
                    "arrived": len(set(right)),
                    "bytes_arrived": PACKET * len(set(right)),
                    "doubled": len(right) - len(set(right)),
                }
            )

    @task(1)
    def join_realtime_channel(self) -> None:
        """Two nodes at the iroh relay that send each other small frames."""
        if self.relay is None or not self.may_send:
            return
        with suppress(StepFailed), self.step("iroh relay", "a channel of 2 s"):
            url = RelayUrl.parse(self.relay)
            tls = TARGET.ssl_context() if url.secure else None
            with (
                RelayClient(HOST, url, tls=tls, within=WITHIN) as one,
                RelayClient(HOST, url, tls=tls, within=WITHIN) as other,
            ):
                began = time.monotonic()
                one.ping(within=WITHIN)
                other.ping(within=WITHIN)
                self.took("iroh relay", "two log-ins answered", time.monotonic() - began)
                for number in range(SWARM_FRAMES):
                    sender, receiver = (one, other) if number % 2 else (other, one)
                    frame = secrets.token_bytes(CHANCE.choice(SWARM_SIZES))
                    totals.frames.add({"sent": 1, "bytes_sent": len(frame)})
                    sender.send(receiver.node_id, frame)
                    packets = receiver.receive_until(frame, within=WITHIN)
                    totals.frames.add(
                        {"arrived": 1, "bytes_arrived": len(frame), "doubled": len(packets) - 1}
                    )
                    gevent.sleep(SWARM_PAUSE)


# Results


class Gathered:
    """What all processes counted; written every few seconds, and at the end."""

    def __init__(self) -> None:
        self.of_worker: dict[str, dict[str, Any]] = {}
        self.most_users = 0
        self.most_workers = 0

    def write(self, environment: Any, *, complete: bool) -> None:
        runner = environment.runner
        self.most_users = max(self.most_users, runner.user_count)
        workers = lost = 0
        if isinstance(runner, MasterRunner):
            self.most_workers = max(self.most_workers, len(runner.clients))
            workers = self.most_workers
            lost = len(runner.clients.missing)
        parts = list(self.of_worker.values()) or [totals.as_data()]
        carried = {name: Carried() for name in ("messages", "media", "frames")}
        errors: Counter[str] = Counter()
        for part in parts:
            for name, each in carried.items():
                each.add(part[name])
            errors.update(part["errors"])
        LoadResults(
            complete=complete,
            users_wanted=PLAN.users,
            users_reached=self.most_users,
            seconds=round(time.monotonic() - totals.began, 1),
            workers=workers,
            workers_lost=lost,
            steps=tuple(_steps(environment)),
            errors=tuple(errors.most_common(MOST_ERRORS)),
            messages=carried["messages"],
            media=carried["media"],
            frames=carried["frames"],
        ).write(Path(PLAN.results))


gathered = Gathered()


def _steps(environment: Any) -> Iterator[Step]:
    for (name, service), entry in sorted(environment.stats.entries.items(), key=lambda each: each[0][::-1]):
        times = (entry.get_response_time_percentile(part) or 0.0 for part in (0.5, 0.95, 0.99))
        yield Step(service, name, entry.num_requests, entry.num_failures, *times)


def _begin(environment: Any, **_kwargs: Any) -> None:
    totals.began = time.monotonic()
    if isinstance(environment.runner, MasterRunner | LocalRunner):
        gevent.spawn(_write_now_and_then, environment)


def _write_now_and_then(environment: Any) -> None:
    while True:
        gathered.write(environment, complete=False)
        gevent.sleep(WRITE_EVERY)


def _clients_come(**_kwargs: Any) -> None:
    totals.began = time.monotonic()


def _tell_master(client_id: str, data: dict[str, Any]) -> None:  # noqa: ARG001  # Locust gives it
    data["carried"] = totals.as_data()


def _hear_worker(client_id: str, data: dict[str, Any]) -> None:
    if "carried" in data:
        gathered.of_worker[client_id] = data["carried"]


def _remember_users(environment: Any, **_kwargs: Any) -> None:
    gathered.most_users = max(gathered.most_users, environment.runner.user_count)


def _end(environment: Any, **_kwargs: Any) -> None:
    if not isinstance(environment.runner, WorkerRunner):
        gathered.write(environment, complete=time.monotonic() - totals.began >= PLAN.run_time - 1)


events.init.add_listener(_begin)
events.test_start.add_listener(_clients_come)
events.report_to_master.add_listener(_tell_master)
events.worker_report.add_listener(_hear_worker)
events.test_stop.add_listener(_remember_users)
events.quitting.add_listener(_end)
