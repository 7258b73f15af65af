"""Clients of a chatmail server without a core, as Locust users: `locust -f` this file.

One has an account and two connections for mail, waits in IDLE, writes to others, and now and then calls somebody or
joins a realtime channel. Locust has replaced the blocking parts of the standard library (gevent) before this module is
loaded, so each client is written as if it were alone. What is sent is counted, and what arrives is compared with it.
"""

from __future__ import annotations

import os
import random
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

import gevent
from gevent.pool import Pool
from locust import User, between, task
from locust.exception import StopUser

from harness.accounts import Credentials
from harness.calls.servers import TURN_KEY, TurnOffer
from harness.clients.mail.imap import ImapClient, ImapError
from harness.clients.mail.messages import encrypted_message, message_id
from harness.clients.mail.smtp import SmtpClient, SmtpError
from harness.clients.relay.client import RelayClient, RelayError
from harness.clients.turn.client import TurnClient, TurnError
from harness.hosts import LocalHost, MissingCapability
from harness.load.conduct import PLAN, begin
from harness.load.counting import OnItsWay, totals
from harness.load.plan import PLAN as PLAN_FILE
from harness.servers.server import ServerError
from harness.stage.offers import IROH_RELAY_KEY
from harness.stage.options import Choice
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
EACH = 12
"""Clients of which one begins with a call, and one with a channel, as often as they have these by chance later."""
LOOK_EVERY = 300.0
"""Seconds in IDLE before it is entered anew, as apps do."""
WITHIN = 30.0
LOOKS_AT_ONCE = 20
MARKER = re.compile(rb"^message-id: *<(load-[0-9a-f]+)@", re.IGNORECASE | re.MULTILINE)

HOST = LocalHost()
CHANCE = random.SystemRandom()
ACCOUNTS: dict[str, Credentials] = {}
"""By their addresses."""
TARGET = Choice.read(PLAN.option).open(HOST, Path(mkdtemp(dir=Path(os.environ[PLAN_FILE]).parent))).target


class StepFailed(Exception):
    """A step went wrong, and was counted as such. The text says how, and has no secret."""


class ChatClient(User):
    """One person's device."""

    wait_time = between(PLAN.pause / 2, PLAN.pause * 1.5)
    password = ""
    counted = False
    account: Credentials
    imap: ImapClient
    smtp: SmtpClient

    @contextmanager
    def step(self, service: str, name: str) -> Iterator[None]:
        """Count and time a step. Raises `StepFailed` where it fails."""
        began = time.monotonic()
        totals.at_work += 1
        try:
            yield
        except ERRORS as error:
            failure = StepFailed(totals.remember(service, error, self.password))
            self.took(service, name, time.monotonic() - began, failure)
            raise failure from error
        finally:
            totals.at_work -= 1
        self.took(service, name, time.monotonic() - began)

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
        return time.monotonic() - totals.began < PLAN.run_time

    def on_start(self) -> None:
        """Make an account, read METADATA, and wait for mail from now on."""
        if totals.clients >= PLAN.users_each:
            raise StopUser
        totals.came()
        self.counted = True
        try:
            with self.step("mail", "IMAP log-in"):
                self.account = TARGET.new_account()
                self.password = self.account.password
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
        offered = {"mail": True, "TURN": self.turn, "iroh relay": self.relay}
        totals.offers.update(name for name, there in offered.items() if there)
        ACCOUNTS[self.account.address] = self.account
        totals.has_account(self.account.address)
        self._idle = gevent.spawn(self._wait_for_mail)
        # Of few clients, too, one calls and one joins a channel: what nobody did is not judged.
        if len(totals.addresses) % EACH == 1:
            self.call()
        elif len(totals.addresses) % EACH == 2:
            self.join_realtime_channel()

    def on_stop(self) -> None:
        """Leave as an app does that is closed."""
        if self.counted:
            self.counted = False
            totals.clients -= 1
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
            self.took("mail", "IDLE", 0.0, StepFailed(totals.remember("mail", error, self.password)))

    def _fetch(self) -> None:
        with self.step("mail", "FETCH"):
            messages = self.imap.fetch_all()
            for message in messages:
                self._look_at(message.data)
            uids = ",".join(str(each.uid) for each in messages)
            self.imap.command(rf"UID STORE {uids} +FLAGS.SILENT (\Deleted)")
            self.imap.command("EXPUNGE")

    def _look_at(self, data: bytes) -> None:
        sent = totals.message_arrived(_marker(data))
        if sent is not None:
            self.took("mail", "from submission to arrival", time.monotonic() - sent.submitted)

    @task(10)
    def write(self) -> None:
        """Send an encrypted message to somebody."""
        if not self.may_send:
            return
        recipient = CHANCE.choice(totals.addresses)
        marker = f"load-{secrets.token_hex(8)}"
        size = CHANCE.choices(MESSAGE_SIZES, WEIGHTS)[0]
        message = encrypted_message(self.account.address, recipient, marker=marker, size=size)
        totals.on_their_way[marker] = OnItsWay(
            time.monotonic(), len(message), message_id(marker, self.account.address), recipient
        )
        try:
            with self.step("mail", "submission"):
                reply = self.smtp.submit(self.account.address, [recipient], message)
                if not reply.accepted:
                    raise SmtpError(f"a message was refused: {reply}")
        except StepFailed:
            totals.on_their_way.pop(marker, None)
            return
        totals.message_sent(marker, len(message))

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


def look_for_missing() -> None:
    """Look into each mailbox that a message is missing from: what lies there has arrived, told of or not."""
    Pool(LOOKS_AT_ONCE).map(_look_into, {each.recipient for each in totals.on_their_way.values()})
    totals.has_looked = True


def _look_into(address: str) -> None:
    with suppress(*ERRORS), ImapClient(HOST, TARGET, within=WITHIN) as imap:
        imap.login(ACCOUNTS[address])
        if imap.select():
            for message in imap.fetch_all():
                totals.message_found(_marker(message.data))
        totals.looked.add(address)


def _marker(data: bytes) -> str:
    """Of a message that some client of a load has sent; empty: another one."""
    found = MARKER.search(data)
    return found[1].decode() if found else ""


begin(look_for_missing)
