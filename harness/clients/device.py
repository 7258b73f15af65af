"""A device: what one person holds. A name, a host, and a Delta Chat account in a core process of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ..accounts import Credentials
from ..hosts import Host, LocalHost
from ..scratch import scratch_directory
from ..target import Target
from .core.core import Account, Core
from .core.eras import CoreUnsupported
from .core.versions import CoreBinary, CoreChoice
from .mail.imap import ImapClient
from .sockets import tcp_connections

__all__ = ["Device", "devices_online"]

TURN_KEY = "/shared/vendor/deltachat/turn"


@dataclass(frozen=True)
class Device:
    """An account that is online on a host."""

    name: str
    host: Host
    core: Core
    account: Account
    origin: str = ""
    """Remark on the place that its core came from."""

    @classmethod
    def start(
        cls,
        name: str,
        target: Target,
        logs: Path,
        *,
        host: Host | None = None,
        binary: CoreBinary | None = None,
        bot: bool = True,
        within: float = 60.0,
    ) -> Device:
        """Start a core, create an account on the target and wait until its inbox is watched.

        The target must advertise a relay of its own before: core would else use public ones. Raises `CoreUnsupported`
        before a core does any I/O that cannot work with what the target offers.
        """
        host = host or LocalHost()
        binary = binary or CoreChoice().for_device(name)
        core = Core(logs, name=name, host=host, binary=binary.path, within=within)
        try:
            credentials = target.new_account()
            _check_era(core, target, credentials)
            account = core.new_account(target, credentials, bot=bot)
            account.bring_online(within=within)
        except BaseException:
            core.close()
            raise
        return cls(name, host, core, account, binary.origin)

    def second_device(self, name: str, *, within: float = 60.0) -> Device:
        """Another device of the same account, set up from a backup, with the same core; the caller closes it."""
        core = Core(self.core.logs, name=name, host=self.host, binary=self.core.binary, within=within)
        try:
            with scratch_directory("backup") as directory:
                backup = self.account.export_backup(directory, within=within)
                account = core.import_account(backup, like=self.account)
            account.bring_online(within=within)
        except BaseException:
            core.close()
            raise
        return Device(name, self.host, core, account, self.origin)

    @property
    def description(self) -> str:
        """Program, version and mode of this client, for records."""
        text = f"core {self.core.version}, bot={int(self.account.bot)}"
        return f"{text}, {self.origin}" if self.origin else text

    @property
    def log_files(self) -> tuple[Path, ...]:
        """Core's own log and its stderr with iroh's trace; complete once the device is closed."""
        return self.core.log_files

    def foreign_hosts(self, target: Target) -> frozenset[str]:
        """Hosts outside the target that this device's core dealt with, as far as the core itself shows.

        Two weak witnesses: relays and probes in iroh's trace, and the TCP connections that are open now.
        """
        allowed = {target.host, *target.other_addresses, *self.host.addresses_of(target.host)}
        connected = {each.remote_address for each in tcp_connections(self.core.pid)}
        return self.core.iroh_trace().foreign(allowed) | (connected - allowed)

    def close(self) -> None:
        """End the core process; its log stays."""
        self.core.close()


def _check_era(core: Core, target: Target, credentials: Credentials) -> None:
    if not core.era.needs_turn:
        return
    with ImapClient(core.host, target) as imap:
        imap.login(credentials)
        if TURN_KEY in imap.get_metadata(TURN_KEY):
            return
    raise CoreUnsupported(
        f"core {core.version} comes online only where METADATA offers TURN or the public name nine.testrun.org "
        f"has an address, and {target.name} offers no TURN"
    )


@contextlib.contextmanager
def devices_online(
    names: Sequence[str],
    target: Target,
    logs: Path,
    *,
    host: Host | None = None,
    hosts: Mapping[str, Host] | None = None,
    targets: Mapping[str, Target] | None = None,
    cores: CoreChoice | None = None,
    bot: bool = True,
    within: float = 60.0,
) -> Iterator[tuple[Device, ...]]:
    """Devices that start together and are all closed at the end, also when one of them does not start.

    `hosts`: by the name of the device; the others live on `host`. `targets`: likewise, for those that find the same
    server in another way.
    """
    cores = cores or CoreChoice()
    hosts, targets = hosts or {}, targets or {}
    binaries = {name: cores.for_device(name) for name in names}  # before any starts: one may need a download

    def start(name: str) -> Device:
        where = hosts.get(name, host)
        what = targets.get(name, target)
        return Device.start(name, what, logs, host=where, binary=binaries[name], bot=bot, within=within)

    with ThreadPoolExecutor(max_workers=max(len(names), 1)) as pool:
        starting: list[Future[Device]] = [pool.submit(start, name) for name in names]
        try:
            yield tuple(each.result() for each in starting)
        finally:
            started = [each.result() for each in starting if each.exception() is None]
            for closing in [pool.submit(device.close) for device in started]:
                closing.result()
