"""Options that every door has, in one place: the server that is tested, its accounts and the clients."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..accounts import Credentials, GivenAccounts
from ..calls.kinds import PeerChoice
from ..clients.core.versions import CoreChoice
from ..clients.mail.web import WebAccounts
from ..errors import plain
from ..hosts import Host
from ..network.pairs import Pair, every_pair, networks_of, pair_of
from ..network.uplink import Uplink, real_uplink
from ..servers.endpoints import read_endpoints
from ..servers.reference import Reference
from ..servers.registry import server_of
from ..servers.remote import host_named, pin_certificates, remote_target, running_server
from ..servers.server import RunningServer, Server, ServerError, administered
from ..target import AdminAccess, Impact, Target

__all__ = ["ACCEPT_SELF_SIGNED", "ADMIN_TOKEN", "Choice", "add_options", "option_names"]

ACCEPT_SELF_SIGNED = "DC_HARNESS_ACCEPT_SELF_SIGNED"
"""Set in the environment, it does as `--accept-self-signed`: for scripts that pass no options on."""
ADMIN_TOKEN = "DC_HARNESS_ADMIN_TOKEN"  # noqa: S105 - a name
"""In the environment, the token of madmail's admin API at the server of `--domain`: a secret is no option."""
MUST = {"turn": "turn", "turns": "turns", "relay": "iroh_relay"}
MIN_PASSWORD = 8
"""Characters. A shorter one could not be kept out of the results: taking it out would mangle them."""


def add_options(add: Callable[..., object], *, domain: str | None = None) -> None:
    """Declare the options with argparse's or pytest's function; `domain` is the default of `--domain`."""
    add("--target", choices=("embedded", "remote"), help="'remote' insists on --domain or --endpoints")
    add(
        "--domain",
        metavar="HOST",
        default=domain,
        help="server under test, on the standard ports (default: an embedded one)",
    )
    add(
        "--server",
        metavar="NAME",
        help="server to start and test: reference (default), or with services from other programs, as in "
        "reference+coturn+iroh-relay=PATH; FILE.toml is a server of your own",
    )
    add(
        "--second-server",
        metavar="NAME",
        help="for checks of two servers that mail each other: the other one, as --server has it (default: another "
        "of the same kind)",
    )
    add("--endpoints", type=Path, metavar="FILE", help="server under test, by its ready line")
    add(
        "--uplink",
        choices=("real",),
        help="let devices in emulated networks reach the server of --domain through this machine's own network",
    )
    add("--ca-file", type=Path, metavar="FILE", help="CA that signed the certificates of --domain")
    add(
        "--accept-self-signed",
        action="store_true",
        help="pin the certificates that the server shows instead of verifying them; a finding all the same "
        f"(also {ACCEPT_SELF_SIGNED}=1 in the environment)",
    )
    add(
        "--accounts",
        choices=("login", "new"),
        default="login",
        help="create accounts by first login (default) or POST /new",
    )
    add(
        "--account",
        action="append",
        default=[],
        metavar="USER:PW",
        help="use this account and create none; repeat it for more",
    )
    add(
        "--impact",
        choices=(Impact.LIVE_SAFE.value, Impact.LEAVES_TRACES.value),
        default=Impact.LIVE_SAFE.value,
        help="the most that checks may do to a remote server (default: live_safe)",
    )
    add(
        "--i-own-this-server",
        metavar="HOST",
        help="allow harmful checks too; must name the server under test",
    )
    add(
        "--also-ours",
        action="append",
        default=[],
        metavar="HOST",
        help="a further host of the same operator, with all of its addresses; repeat it for more",
    )
    add(
        "--must",
        action="append",
        default=[],
        metavar="SERVICES",
        help="services without which the server fails, as in turn,turns,relay; for check and signoff also a "
        "must-list, FILE.toml",
    )
    add(
        "--core",
        action="append",
        default=[],
        metavar="VERSION",
        help="another version of Delta Chat core, for all devices or like alice=1.160.0,bob=2.65.0",
    )
    add(
        "--peer",
        action="append",
        default=[],
        metavar="KIND",
        help="what is at the ends of calls: aiortc (default), or chromium with Delta Chat's own call UI; for all "
        "devices or like alice=chromium,bob=aiortc",
    )
    add(
        "--pair",
        action="append",
        default=[],
        metavar="FIRST:SECOND",
        help="for checks between networks: only this pair, as in home:mobile; repeat it for more",
    )
    add(
        "--networks",
        action="append",
        default=[],
        metavar="NAMES",
        help="likewise every pair of these, as in home,mobile,symmetric",
    )
    add("--rpc-server", type=Path, metavar="PATH", help="another deltachat-rpc-server program")


def option_names() -> list[str]:
    """Names of all these options, as argparse keeps their values."""
    names: list[str] = []
    add_options(lambda flag, **_settings: names.append(flag.removeprefix("--").replace("-", "_")))
    return names


@dataclass(frozen=True)
class Choice:
    """Options as they were given. Without a domain and endpoints, a server is started."""

    kind: Server | None = None
    """The server to start; None: the reference server."""
    second: Server | None = None
    """The other one where two servers mail each other; None: another of the same kind."""
    domain: str | None = None
    endpoints: Mapping[str, Any] | None = None
    ca_file: Path | None = None
    accept_self_signed: bool = False
    accounts: str = "login"
    given: tuple[Credentials, ...] | None = None
    """The caller's own accounts; then none is created."""
    impact: Impact = Impact.LIVE_SAFE
    also_ours: tuple[str, ...] = ()
    """Further hosts of the server's operator."""
    must: frozenset[str] = frozenset()
    """Capabilities that the server is meant to have: their absence is a failure."""
    uplink: Uplink | None = None
    """The machine through which devices in a lab reach a server of somebody else; None: they do not."""
    cores: CoreChoice = field(default_factory=CoreChoice)
    peers: PeerChoice = field(default_factory=PeerChoice)
    """Kinds of peers at the ends of calls."""
    pairs: tuple[Pair, ...] = ()
    """Networks between which checks are to look; none: those that each check has by itself."""

    @classmethod
    def read(cls, option: Callable[[str], Any]) -> Choice:
        """Make sense of the options; `option` gives the value of one. Raises ValueError with a sentence."""
        embedded = option("target") == "embedded"
        domain = None if embedded else option("domain")
        if domain is not None:
            remote_target(domain)  # refuses anything but a name or an address, before a run begins
        file = None if embedded else option("endpoints")
        if sum(each is not None for each in (domain, file, option("server"))) > 1:
            raise ValueError("--server, --domain and --endpoints are different servers; name one")
        try:
            endpoints = read_endpoints(file) if file else None
        except OSError as error:
            raise ValueError(f"--endpoints {file}: {plain(error)}") from error
        if option("target") == "remote" and not (domain or endpoints):
            raise ValueError("--target remote needs --domain HOST or --endpoints FILE")
        ca_file = option("ca_file")
        if ca_file:
            _require_certificates(ca_file)
        choice = cls(
            kind=server_of(option("server")) if option("server") else None,
            second=server_of(option("second_server")) if option("second_server") else None,
            domain=domain,
            endpoints=endpoints,
            ca_file=ca_file,
            accept_self_signed=option("accept_self_signed") or bool(os.environ.get(ACCEPT_SELF_SIGNED)),
            accounts=option("accounts"),
            given=tuple(_credentials(text) for text in option("account")) or None,
            impact=Impact(option("impact")),
            also_ours=tuple(host_named(each, "--also-ours") for each in option("also_ours")),
            must=_capabilities(option("must")),
            uplink=_uplink(option("uplink"), remote=domain is not None or endpoints is not None),
            cores=CoreChoice.parse(option("core"), option("rpc_server")),
            peers=PeerChoice.parse(option("peer")),
            pairs=_pairs(option("pair"), option("networks")),
        )
        if choice.is_remote and choice.uplink is None and option("networks"):
            raise ValueError(
                "--networks: from emulated networks, only --uplink real leads to a server elsewhere"
            )
        if choice.is_remote and choice.second is not None:
            raise ValueError("--second-server: only a server that we start gets a second one")
        return choice._owned_by_caller(option("i_own_this_server"))

    @property
    def is_remote(self) -> bool:
        return self.domain is not None or self.endpoints is not None

    @property
    def name(self) -> str:
        """Name of the server under test, as it was given."""
        if self.endpoints is not None:
            return str(self.endpoints.get("host"))
        return self.domain or (Reference.name if self.kind is None else self.kind.name)

    @property
    def title(self) -> str:
        """For people."""
        if self.endpoints is not None:
            return str(self.endpoints.get("host"))
        started = "the embedded reference server" if self.kind is None else self.kind.name
        return self.domain or started

    def for_worker(self, number: int, workers: int) -> Choice:
        """The part of one of several processes that test at the same time: given accounts are shared out."""
        return self if self.given is None else replace(self, given=self.given[number::workers])

    def open(self, host: Host, directory: Path) -> RunningServer:
        """The server of somebody else; pinned certificates are kept in `directory`. Raises `ServerError`."""
        if self.endpoints is not None:
            server = running_server(self.endpoints, host)
            target = replace(server.target, ca_file=self.ca_file or server.target.ca_file)
        else:
            assert self.domain is not None
            target = remote_target(self.domain, ca_file=self.ca_file)
            server = RunningServer(target.name, {}, target=target)
        if target.ca_file is not None and not os.access(target.ca_file, os.R_OK):
            raise ServerError(f"the file with the CA of {target.name} cannot be read: {target.ca_file}")
        if self.accept_self_signed:
            target = pin_certificates(target, host, directory / "pinned.pem")
        if token := os.environ.get(ADMIN_TOKEN):
            target = administered(target, AdminAccess(token))
        further = target.other_addresses.union(*(_addresses_of(name, host) for name in self.also_ours))
        server.target = replace(self.prepare(target, host), impact=self.impact, other_addresses=further)
        return server

    def prepare(self, target: Target, host: Host) -> Target:
        """The same target with the accounts that were chosen; by default it has its own."""
        if self.given is not None:
            return replace(target, accounts=GivenAccounts(self.given))
        return replace(target, accounts=WebAccounts(host)) if self.accounts == "new" else target

    def _owned_by_caller(self, owned: str | None) -> Choice:
        if owned is None:
            return self
        names = (
            {self.domain}
            if self.endpoints is None
            else {self.endpoints.get("host"), self.endpoints.get("domain")}
        )
        if _in_one_way(owned) not in {_in_one_way(str(each)) for each in names}:
            raise ValueError(f"--i-own-this-server names {owned}, but the server under test is {self.title}")
        return replace(self, impact=Impact.HARMFUL)


def _in_one_way(name: str) -> str:
    """A host as it is compared, however it was written."""
    try:
        return host_named(name, "")
    except ValueError:
        return name


def _require_certificates(file: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except ssl.SSLError:
        raise ValueError(f"--ca-file: {file} has no certificate in PEM") from None
    except OSError as error:
        raise ValueError(f"--ca-file: {file}: {plain(error)}") from error


def _capabilities(texts: Sequence[str]) -> frozenset[str]:
    words = [word for text in texts for word in text.split(",") if word]
    if unknown := sorted(set(words) - MUST.keys()):
        known = f"{', '.join(MUST)}; a must-list ends in .toml, and is for check and signoff"
        raise ValueError(f"--must: there is no {', '.join(unknown)}; there are {known}")
    return frozenset(MUST[word] for word in words)


def _pairs(single: Sequence[str], networks: Sequence[str]) -> tuple[Pair, ...]:
    named = every_pair(networks_of(",".join(networks))) if networks else ()
    return tuple(dict.fromkeys((*map(pair_of, single), *named)))


def _uplink(name: str | None, *, remote: bool) -> Uplink | None:
    if name is None:
        return None
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        raise ValueError("--uplink real lets packets of a lab out of this machine: not in CI")
    if not remote:
        raise ValueError("--uplink is for a server that runs elsewhere: name it with --domain or --endpoints")
    return real_uplink()


def _addresses_of(name: str, host: Host) -> frozenset[str]:
    try:
        return host.addresses_of(name)
    except OSError as error:
        raise ServerError(f"--also-ours {name}: {plain(error)}") from error


def _credentials(text: str) -> Credentials:
    address, colon, password = text.partition(":")
    if not colon or "@" not in address:
        raise ValueError("--account is USER@DOMAIN:PASSWORD")
    if len(password) < MIN_PASSWORD:
        raise ValueError(f"--account: the password of {address} has fewer than {MIN_PASSWORD} characters")
    return Credentials(address, password)
