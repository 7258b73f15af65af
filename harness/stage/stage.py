"""A stage: everything that one check is given. Devices on one host; `lab` opens one with networks (`lab.LabStage`)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ..calls.servers import TURN_KEY, TurnOffer
from ..clients.control import ServiceLedger
from ..clients.device import Device, devices_online
from ..hosts import Host
from ..servers.server import RunningServer, Wants
from ..target import Service, Target
from ..urls import RelayUrl
from . import offers
from .options import ADMIN_TOKEN
from .outcome import Outcome

if TYPE_CHECKING:
    from .lab import LabStage
    from .session import Session

__all__ = ["Stage"]


@dataclass(frozen=True)
class Stage:
    """A server, a host for our own clients, devices, a place for files, and the outcome of the running check."""

    session: Session
    server: RunningServer
    target: Target
    host: Host
    logs: Path
    outcome: Outcome
    as_it_is: bool = False
    """Checks get the server as it is, whatever they want of it."""

    @property
    def results(self) -> dict[str, Outcome]:
        """Outcomes of the checks that ran before on this server, by name."""
        return self.session.results

    @property
    def capabilities(self) -> frozenset[str]:
        """Those of the target, and `lab` where a server of its kind can be put into one."""
        return self.target.capabilities | self.session.capabilities

    def explain_missing(self, capability: str) -> str:
        """Reason for which a check that needs this is not run."""
        name = self.target.name
        reasons = {
            "lab": f"{name} runs elsewhere: only a server that we start can be put into a lab; "
            "--uplink real lets devices in a lab reach it through this machine's network",
            "files": f"the files and logs of {name} are not ours to read",
            "admin": f"{name} has no admin API of madmail's kind that we have the token of: "
            f"{ADMIN_TOKEN}=TOKEN in the environment, where it has one",
            "own_program": "it is about the file of madmail's own program (--server madmail=PATH), and "
            f"{name} is no madmail that we start",
            "federation": f"two servers that mail each other are needed, and of {name} none can be started",
            "relay_v1": f"the iroh relay of {name} lets in no nodes of iroh 0.91 and later, "
            "which no Delta Chat client is",
        }
        return reasons.get(capability, f"{name} has no {capability}")

    @contextmanager
    def served(self, wants: Wants, outcome: Outcome) -> Iterator[Stage]:
        """The same stage, for one check, with a server that was started as it wants, as far as that is up to us."""
        here = replace(self, outcome=outcome)
        if self.as_it_is or not wants.stated or self.session.kind is None:
            yield here
            return
        with self.session.another(wants) as session:
            yield replace(here, session=session, server=session.server, target=session.target)

    def own_relay(self) -> RelayUrl:
        """The target's own iroh relay, by METADATA. Raises `PromiseBroken` for a missing, unusable or foreign value."""
        return offers.own_relay(self.target, self.host)

    def own_turn(self, key: str = TURN_KEY) -> TurnOffer:
        """The target's own TURN server, likewise."""
        return offers.own_turn(self.target, self.host, key)

    def ledger(self, service: Service, *, otherwise: str) -> ServiceLedger | None:
        """Everything that a service says it carried; without a ledger None, and a note on the weaker witness."""
        found = self.server.ledger(service)
        if found is None:
            self.outcome.note(f"{service.display_name} of the target keeps no ledger: {otherwise}")
        return found

    @contextmanager
    def people(self, *names: str, calls: bool = False) -> Iterator[tuple[Device, ...]]:
        """Devices that are online, each a core process; they end with the block, and what they wrote is evidence.

        METADATA is read before any core starts: that of the relay, of TURN where the target has it or with `calls`.
        At the end nobody must have gone elsewhere, as far as the cores themselves show.
        """
        offers.require_own_services(self.target, self.host)
        if calls:
            self.own_turn()
        devices: tuple[Device, ...] = ()
        try:
            with devices_online(
                names, self.target, self.logs, host=self.host, cores=self.session.cores
            ) as devices:
                self.outcome.clients |= {each.name: each.description for each in devices}
                yield devices
                self.expect_no_foreign_hosts(*devices)
        finally:
            self.outcome.evidence += [file for each in devices for file in each.log_files]

    def expect_no_foreign_hosts(self, *devices: Device) -> None:
        """As far as the cores themselves show; see `Device.foreign_hosts`."""
        for device in devices:
            foreign = sorted(device.foreign_hosts(self.target))
            self.outcome.expect(
                not foreign, f"{device.name} dealt with hosts outside the test: {', '.join(foreign)}"
            )

    @contextmanager
    def lab(self, wants: Wants | None = None) -> Iterator[LabStage]:
        """The same stage in a lab, with a server of the same kind in it, or with an uplink to this one; see `LabStage`.

        Raises `MissingCapability` where this machine cannot have one.
        """
        from .lab import open_lab  # noqa: PLC0415 - it takes a second to load, and most checks need none
        from .remote_lab import open_remote_lab  # noqa: PLC0415

        wants, uplink = wants or Wants(), self.session.choice.uplink
        opened = open_remote_lab(self, wants, uplink) if uplink else open_lab(self, wants)
        with opened as lab:
            yield lab

    def apart(self, name: str) -> Self:
        """The same stage with a directory for logs of its own: what one check wrote is evidence, and stays."""
        return replace(self, logs=self.logs / name)

    def directory(self, name: str) -> Path:
        """A new directory for what programs write."""
        self.logs.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.logs))
