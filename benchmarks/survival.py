"""`python -m benchmarks.survival`: services of a server of ours are killed and started again at random, under load.

Senders submit mail, two TURN clients exchange datagrams as in a call, and two nodes exchange packets over the relay.
Every message answered with 250 must be in the mailbox once, and no exchange may break but that of the service that was
killed. Afterwards each service has as many descriptors open as before, and not much more memory. Exit code 1 for a
fault; the kills follow from the seed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from harness.accounts import Credentials
from harness.clients.mail.messages import encrypted_message
from harness.clients.mail.smtp import SmtpClient, SmtpError
from harness.clients.relay.client import RelayError
from harness.clients.turn.client import TurnError
from harness.hosts import Host
from harness.report.run import Run
from harness.stage.session import open_session
from harness.stage.stage import Stage
from harness.steps.mail import logged_in, markers
from harness.steps.relay_exchange import OwnRelay
from harness.steps.turn_exchange import OwnTurn
from harness.target import Service, Target
from harness.waiting import WaitTimeout, wait_until

SENDERS = 3
GOES_ON_AFTER = 10
"""Messages and answers of each kind that must come between two kills."""
WITHIN = 60.0
ANSWER_WITHIN = 2.0
"""Seconds after which an exchange counts as broken."""
MORE_MEMORY = 64e6
"""Bytes by which a service may have grown when everybody is gone: an allocator keeps some, a leak does not end."""
PAUSE = 0.02
"""Seconds between two packets, as of a call; and between two attempts to begin anew."""


class Load(threading.Thread):
    """Something that goes on until it is told to stop, and begins anew when it breaks."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.done = 0
        """Steps that worked."""
        self.breaks = 0
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.is_set():
            try:
                for _ in self.steps():
                    self.done += 1
                    if self._over.wait(PAUSE):
                        return
            except (SmtpError, TurnError, RelayError, WaitTimeout, OSError):
                if not self._over.is_set():
                    self.breaks += 1
                    self._over.wait(PAUSE)

    def steps(self) -> Iterator[None]:
        """One session, step by step; whatever a client raises means that it broke."""
        raise NotImplementedError

    def stop(self) -> None:
        self._over.set()
        self.join(WITHIN)


class Sender(Load):
    """Submits one message after the other."""

    def __init__(self, name: str, host: Host, target: Target, sender: Credentials, recipient: str) -> None:
        super().__init__(name)
        self._host, self._target, self._sender, self._recipient = host, target, sender, recipient
        self._count = itertools.count()
        self.accepted: list[str] = []

    def steps(self) -> Iterator[None]:
        with SmtpClient(self._host, self._target, within=WITHIN) as smtp:
            smtp.login(self._sender)
            while True:
                marker = f"{self.name}-{next(self._count)}"
                message = encrypted_message(self._sender.address, self._recipient, marker=marker)
                if smtp.submit(self._sender.address, [self._recipient], message).accepted:
                    self.accepted.append(marker)
                yield


class Call(Load):
    """Datagrams between two TURN clients, each answered before the next."""

    def __init__(self, stage: Stage) -> None:
        super().__init__("call")
        self._turn = OwnTurn.of(stage)

    def steps(self) -> Iterator[None]:
        with self._turn.peers() as (one, other):
            one.client.permit(other.relayed[0])
            other.client.permit(one.relayed[0])
            for number in itertools.count():
                payload = number.to_bytes(8, "big") * 100
                one.client.send(other.relayed, payload)
                if other.client.receive(within=ANSWER_WITHIN).data != payload:
                    raise TurnError("another datagram arrived")
                yield


class Swarm(Load):
    """Packets between two nodes over the relay, each answered before the next."""

    def __init__(self, stage: Stage) -> None:
        super().__init__("swarm")
        self._relay = OwnRelay.of(stage)

    def steps(self) -> Iterator[None]:
        with self._relay.client() as one, self._relay.client() as other:
            one.ping()
            other.ping()
            for number in itertools.count():
                payload = number.to_bytes(8, "big") * 100
                one.send(other.node_id, payload)
                if other.receive(within=ANSWER_WITHIN).payload != payload:
                    raise RelayError("another packet arrived")
                yield


DISTURBS = {"sender": Service.MAIL, "call": Service.TURN, "swarm": Service.IROH_RELAY}
"""By the beginning of a load's name: the only service whose end it has a right to notice."""


def survive(stage: Stage, *, kills: int, seed: int) -> list[str]:
    """Kill services `kills` times. Returns sentences on what went wrong."""
    chance = random.Random(seed)
    alice, bob = new_accounts(stage)
    loads = exchanges(stage, alice, bob)
    before, memory = _descriptors(stage), _memory(stage)
    faults = []
    with at_work(loads):
        go_on(loads)
        for number in range(kills):
            victim = chance.choice(list(DISTURBS.values()))
            breaks = {each.name: each.breaks for each in loads}
            stage.server.program(victim).restart(kill=True)
            time.sleep(chance.uniform(0, 0.5))  # the moments are what is tried
            go_on(loads)
            faults += [
                f"kill {number + 1}, of {victim.display_name}, broke {each.name}"
                for each in loads
                if each.breaks > breaks[each.name] and DISTURBS[each.name.partition("-")[0]] is not victim
            ]
    accepted, lost = mailbox_faults(stage, loads, bob)
    faults += lost
    faults += _not_given_back(stage, before)
    faults += [
        f"{name} has {size / 1e6:.0f} MB, before {memory[name] / 1e6:.0f}"
        for name, size in _memory(stage).items()
        if size > memory[name] + MORE_MEMORY
    ]
    print(
        f"seed {seed}: {kills} kills, {accepted} messages answered with 250; "
        f"{loads[-2].done} datagrams, {loads[-1].done} packets; faults: {len(faults)}"
    )
    return faults


def new_accounts(stage: Stage) -> tuple[Credentials, Credentials]:
    """One that sends and one that receives."""
    accounts = stage.target.new_account(), stage.target.new_account()
    for each in accounts:
        with logged_in(stage, each):
            pass  # the first log-in creates the account
    return accounts


def exchanges(stage: Stage, alice: Credentials, bob: Credentials) -> list[Load]:
    """Senders of mail from alice to bob, a call and a swarm."""
    senders = [
        Sender(f"sender-{number}", stage.host, stage.target, alice, bob.address) for number in range(SENDERS)
    ]
    return [*senders, Call(stage), Swarm(stage)]


def mailbox_faults(stage: Stage, loads: Sequence[Load], bob: Credentials) -> tuple[int, list[str]]:
    """How many messages were answered with 250, and sentences on those that bob has not exactly once."""
    with logged_in(stage, bob) as imap:
        imap.select()
        arrived = markers(imap)
    accepted = accepted_by(loads)
    return len(accepted), mail_faults(accepted, arrived)


def accepted_by(loads: Sequence[Load]) -> list[str]:
    """Markers of the messages that were answered with 250."""
    return [marker for each in loads if isinstance(each, Sender) for marker in each.accepted]


def mail_faults(accepted: Sequence[str], arrived: Sequence[str]) -> list[str]:
    """Sentences on messages that were answered with 250 and are not there exactly once."""
    copies = Counter(arrived)
    faults = [f"{marker} was answered with 250 and is lost" for marker in accepted if not copies[marker]]
    return faults + [f"{marker} arrived {times} times" for marker, times in copies.items() if times > 1]


@contextmanager
def at_work(loads: Sequence[Load]) -> Iterator[None]:
    """In this block they go on."""
    for each in loads:
        each.start()
    try:
        yield
    finally:
        for each in loads:
            each.stop()


def go_on(loads: Sequence[Load], *, or_break: bool = False) -> None:
    """Wait until each has done some more, or with `or_break` one has broken."""
    breaks = sum(each.breaks for each in loads)
    wanted = {each.name: each.done + GOES_ON_AFTER for each in loads}
    wait_until(
        lambda: (
            (or_break and sum(each.breaks for each in loads) > breaks)
            or all(each.done >= wanted[each.name] for each in loads)
        ),
        "everything to go on",
        within=WITHIN,
        seen=lambda: {each.name: (each.done, each.breaks) for each in loads},
    )


def _processes(stage: Stage) -> dict[str, Path]:
    """Each service of the server by name, in /proc."""
    assert stage.server.control is not None
    return {name: Path(f"/proc/{pid}") for name, pid in stage.server.control.processes().items()}


def _descriptors(stage: Stage) -> dict[str, int]:
    """Open files of each service."""
    return {name: len(list((path / "fd").iterdir())) for name, path in _processes(stage).items()}


def _memory(stage: Stage) -> dict[str, int]:
    """Resident bytes of each service."""
    page = os.sysconf("SC_PAGE_SIZE")
    return {
        name: int((path / "statm").read_text().split()[1]) * page for name, path in _processes(stage).items()
    }


def _not_given_back(stage: Stage, before: dict[str, int]) -> list[str]:
    """Descriptors that are open though nobody is there."""

    def more() -> list[str]:
        now = _descriptors(stage)
        return [
            f"{name} has {now[name]} files open, before {before[name]}"
            for name in now
            if now[name] > before[name]
        ]

    try:
        wait_until(lambda: not more(), "descriptors to be given back", within=30.0)
    except WaitTimeout:
        return more()
    return []


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.survival", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--kills", type=int, default=20, help="how many (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=1, help="of their order and moments (default: %(default)s)"
    )
    options = parser.parse_args(argv)
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="dc-survival-"))
        session = stack.enter_context(open_session(Run(Path(directory))))
        faults = survive(session.stage("survival"), kills=options.kills, seed=options.seed)
    for each in faults:
        print(each)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
