from __future__ import annotations

import itertools
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from reference_server.mail.settings import Limits, MailSettings, PasswordHashCost
from reference_server.mail.strategies import Strategies
from tests.reference_server.mail.federation.zone import Zone
from tests.reference_server.mail.running import RunningMail

StartServer = Callable[..., RunningMail]
QUICK = Limits(peer_connect=5, peer_reply=3, peer_message_end=3)


@pytest.fixture
def zone() -> Iterator[Zone]:
    zone = Zone()
    yield zone
    zone.close()


@pytest.fixture
def peer_port() -> Iterator[int]:
    """Port at which every server of a test takes mail, each at an address of its own.

    It is held at an address that no server of the test has, so that nobody who asks for any port at all addresses
    gets this one meanwhile.
    """
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture
def addresses() -> Iterator[str]:
    """Loopback addresses, each of them once."""
    net = f"127.{random.randint(2, 254)}.{random.randint(1, 254)}"
    return (f"{net}.{number}" for number in itertools.count(1))


@pytest.fixture
def start_server(
    tmp_path: Path, zone: Zone, peer_port: int, addresses: Iterator[str]
) -> Iterator[StartServer]:
    """Starts a mail service in the federation, which the name server knows; again under the same domain and address."""
    with ExitStack() as running:
        places: dict[str, str] = {}

        def start(domain: str, *, strategies: Strategies | None = None, **settings: Any) -> RunningMail:
            host = places.setdefault(domain, next(addresses))
            mail = RunningMail(
                MailSettings(
                    host=host,
                    domain=domain if domain != "literal" else f"[{host}]",
                    imaps_port=0,
                    imap_port=0,
                    submissions_port=0,
                    submission_port=0,
                    https_port=0,
                    smtp_port=peer_port,
                    peer_port=peer_port,
                    name_server=("127.0.0.1", zone.port),
                    password_hash_cost=PasswordHashCost.LOW,
                    **{
                        "state": tmp_path / domain,
                        "federation": True,
                        "retry_after": 0.2,
                        "limits": QUICK,
                        **settings,
                    },
                ),
                strategies,
            )
            running.callback(mail.stop)
            if domain != "literal":
                zone.set(domain, "A", host)
            for name, _kind, text in mail.ports.get("dns", ()):
                zone.txt(name, text)
            return mail

        yield start
