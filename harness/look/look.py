"""One look at a server from one host: names, ports, certificates, clock, mail, iroh relay and TURN, in some seconds.

Each step stands on those before it, and what is independent runs side by side. Nothing of it raises, whatever the
server does, it ends in time, and it sends no more than `MOST_PACKETS`: what does not fit is left out, by name.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, TypeVar

from ..accounts import Credentials, GivenAccounts, SameAccounts
from ..calls.servers import TurnOffer
from ..clients.mail.web import WebAccounts, WebError
from ..hosts import Host, MissingCapability
from ..report.looks import Look, MailLook, NameLook, PortLook
from ..target import Impact, Target
from ..urls import RelayUrl
from ..waiting import Deadline
from .certificates import unverified
from .host import KnowingHost, LookingHost
from .mail import MailSeen, look_at_delivery, look_at_session
from .names import look_at_name
from .our_clock import is_synchronized
from .packets import MOST_PACKETS, Allowance, OutOfPackets, counted_tls
from .ports import MAIL_PORTS, PortSeen, look_at_mail_port
from .relay import look_at_paths, look_at_relay
from .together import side_by_side, started
from .turn import look_at_turn, look_at_turns, try_known_secrets

__all__ = ["PARTS", "look_at"]

PARTS = ("mail", "turn", "relay")
"""Parts that may be looked at alone; each needs the name, the ports and a log-in."""
WITHIN = 9.0
"""Seconds for all of it."""
PORTS_WITHIN = 5.5
SECRETS_LEFT_OUT = (
    "whether TURN takes a secret that is well known, besides the one that METADATA shows: "
    "those are wrong passwords there (--impact leaves_traces)"
)
PACKETS_LEFT_OUT = f"a look sends no more than {MOST_PACKETS} packets"
CLOSELY = 2
"""Addresses of the server at which every port of mail is looked at; of the next ones only that of IMAP is."""
AT_ALL = 4
NEW_ACCOUNTS = 24
"""Packets for two accounts that are made by HTTPS, which no socket of the look counts."""
FOR_PATHS = 24
"""Packets for what a relay that works need not be asked."""
FOR_SECRETS = 18
Part = TypeVar("Part")


def look_at(
    target: Target,
    host: Host,
    *,
    parts: Collection[str] = PARTS,
    briefly: bool = False,
    within: float = WITHIN,
) -> Look:
    """Everything that can be seen of the target from `host`. Creates two accounts at most, if the target has none.

    `briefly`: only what answers, with one account: no mail is sent, and nothing is relayed.
    """
    began = time.monotonic()
    allowance = Allowance(MOST_PACKETS)
    with LookingHost(host, allowance) as looking:
        counting = _Counting(**_fields(target))
        look = _Looker(counting, looking, parts, briefly, Deadline(within)).run()
    look = replace(look, packets=MOST_PACKETS - allowance.left)
    made = look.mail is not None and look.mail.log_in != "refused"
    left = min(target.accounts.left_behind, 2) if made else 0
    return replace(look, seconds=round(time.monotonic() - began, 2), accounts_left=left)


@dataclass(frozen=True)
class _Looker:
    target: Target
    host: LookingHost
    parts: Collection[str]
    briefly: bool
    deadline: Deadline

    def run(self) -> Look:
        name = look_at_name(self.host, self.target.host)
        own = tuple(sorted({*name.addresses, *self.target.other_addresses}))
        given = isinstance(self.target.accounts, GivenAccounts)
        look = Look(
            self.target.name,
            round(time.time(), 3),
            given_accounts=given,
            own=own,
            name=name,
            our_clock_is_kept=is_synchronized(),
        )
        if not name.addresses:
            return look
        look = self._with_ports(look)
        serving = [
            each.address
            for each in look.ports
            if each.service == "imaps" and each.reached == "open" and not each.turned_away
        ]
        if not serving:
            return look
        look, target = self._trusting(look)
        if target is None:
            return look
        host = KnowingHost(self.host, target.host, serving)
        try:
            alice, bob = self._accounts(target)
        except (WebError, MissingCapability, OutOfPackets) as error:
            return _left_out(look, f"everything behind the log-in: {error}")
        # From its first log-in on, an account can get mail.
        look, seen = self._logged_in(look, host, target, bob, serving[0])
        if seen is None or seen.look.log_in != "accepted":
            return look
        return self._services(look, host, target, seen, (alice, bob))

    def _with_ports(self, look: Look) -> Look:
        assert look.name is not None
        closely, lightly, not_at_all = _chosen(look.name.addresses)
        wanted = [(service, each) for each in closely for service in MAIL_PORTS]
        wanted += [("imaps", each) for each in lightly]
        found: dict[tuple[str, str], PortSeen | None] = side_by_side(
            {
                each: partial(_unless_too_much, look_at_mail_port, self.host, self.target, *each)
                for each in wanted
            },
            within=min(PORTS_WITHIN, self.deadline.remaining()),
        )
        seen = {
            (service, each): found[service, each]
            if (service, each) in found
            else _too_slow(service, each, getattr(self.target, service))
            for service, each in wanted
        }
        whole = [each for each in seen.values() if each is not None]
        clocks = [each.clock_ahead_s for each in whole if each.clock_ahead_s is not None]
        look = replace(
            look,
            ports=tuple(each.port for each in whole),
            certificates=tuple(each.certificate for each in whole if each.certificate is not None),
            clock_ahead_s=clocks[0] if clocks else None,
        )
        if len(whole) < len(seen):
            look = replace(look, cut_short=("ports and certificates",))
        if lightly:
            look = _left_out(
                look, f"other ports than that of IMAP at {', '.join(lightly)}: {PACKETS_LEFT_OUT}"
            )
        return _left_out(look, f"{', '.join(not_at_all)}: {PACKETS_LEFT_OUT}") if not_at_all else look

    def _trusting(self, look: Look) -> tuple[Look, Target | None]:
        """With a certificate that is not right, the look goes on without: passwords of new accounts are no secret.

        The caller's own accounts are not shown to whoever has such a certificate.
        """
        mail = ("imaps", "submissions")
        if not any(each.problem for each in look.certificates if each.service in mail):
            return look, self.target
        look = replace(look, verified=False)
        if look.given_accounts:
            return _left_out(look, "everything behind the log-in: its certificate is not trusted"), None
        return look, _Unverified(**_fields(self.target))

    def _accounts(self, target: Target) -> tuple[Credentials, Credentials]:
        """The second is the first where one is enough, or the caller gave no other."""
        if self.briefly:
            first = target.any_account()
            return first, first
        accounts = target.accounts
        if isinstance(accounts.source if isinstance(accounts, SameAccounts) else accounts, WebAccounts):
            self.host.allowance.take(NEW_ACCOUNTS)
        target.accounts.begin()
        first = target.new_account()
        try:
            return first, target.new_account()
        except MissingCapability:
            return first, first

    def _logged_in(
        self, look: Look, host: Host, target: Target, account: Credentials, address: str
    ) -> tuple[Look, MailSeen | None]:
        """None for the second: it came to no end."""
        future = started(lambda: look_at_session(host, target, account, address))
        try:
            seen = _result(future, self.deadline)
        except OutOfPackets:
            return replace(look, cut_short=(*look.cut_short, "log-in")), None
        if seen is None:
            words = "the log-in did not come to an end in time"
            return replace(look, mail=MailLook(address, "broken", words)), None
        return replace(look, mail=seen.look), seen

    def _services(
        self,
        look: Look,
        host: Host,
        target: Target,
        seen: MailSeen,
        accounts: tuple[Credentials, Credentials],
    ) -> Look:
        wanted: dict[str, Callable[[], dict[str, Any]]] = {}
        # A mail tells the time, too.
        if not self.briefly and ("mail" in self.parts or look.clock_ahead_s is None):
            wanted["delivery of mail"] = lambda: {
                "mail": look_at_delivery(host, target, seen.look, *accounts)
            }
        if "relay" in self.parts and (url := seen.relay) is not None:
            wanted["the iroh relay"] = lambda: self._relay(look, url)
        if "turn" in self.parts and (offer := seen.turn) is not None:
            wanted["TURN"] = lambda: self._turn(look, offer)
        if "turn" in self.parts and (turns := seen.turns) is not None:
            wanted["TURN over TLS"] = lambda: self._turns(look, turns, target.ssl_context())
        look = self._together(look, wanted)
        if look.clock_ahead_s is None and look.mail is not None:
            look = replace(look, clock_ahead_s=look.mail.clock_ahead_s)
        return look if self.briefly else self._with_the_rest(look, seen)

    def _with_the_rest(self, look: Look, seen: MailSeen) -> Look:
        """Whatever no cause depends on that makes a server sick, as far as there are packets left for it."""
        wanted: dict[str, Callable[[], dict[str, Any]]] = {}
        left = self.host.allowance.left
        if (relay := look.relay) is not None and (url := seen.relay) is not None and relay.admits_035:
            if left < FOR_PATHS:
                what = "whether the iroh relay has /ping and /generate_204, and lets in nodes of iroh 0.91"
                look = _left_out(look, f"{what}: {PACKETS_LEFT_OUT}")
            else:
                left -= FOR_PATHS
                wanted["paths of the iroh relay"] = lambda: {"relay": look_at_paths(self.host, url, relay)}
        if (turn := look.turn) is not None and (offer := seen.turn) is not None and turn.address:
            if not self._may_try_secrets:
                look = _left_out(look, SECRETS_LEFT_OUT)
            elif left < FOR_SECRETS:
                look = _left_out(look, f"whether TURN takes a secret that is well known: {PACKETS_LEFT_OUT}")
            else:
                wanted["well-known secrets"] = lambda: {"turn": try_known_secrets(self.host, offer, turn)}
        return self._together(look, wanted)

    def _together(self, look: Look, wanted: dict[str, Callable[[], dict[str, Any]]]) -> Look:
        """The look with what these parts of it find, side by side, as far as they come to an end."""
        futures = {name: started(each) for name, each in wanted.items()}
        wait(futures.values(), timeout=self.deadline.remaining())
        found: dict[str, Any] = {}
        late, cut_short = [], []
        for name, future in futures.items():
            if not future.done():
                late.append(name)
            elif isinstance(future.exception(), OutOfPackets):
                cut_short.append(name)
            else:
                found |= future.result()
        return replace(
            look,
            **found,
            too_slow=(*look.too_slow, *late),
            cut_short=(*look.cut_short, *cut_short),
        )

    @property
    def _may_try_secrets(self) -> bool:
        return Impact.LEAVES_TRACES.within(self.target.impact)

    def _relay(self, look: Look, url: RelayUrl) -> dict[str, Any]:
        name, addresses = self._place(look, url.host)
        relay = look_at_relay(self.host, url, addresses, briefly=self.briefly) if addresses else None
        return {"relay_name": name, "relay": relay}

    def _turn(self, look: Look, offer: TurnOffer) -> dict[str, Any]:
        name, addresses = self._place(look, offer.host)
        if not addresses:
            return {"turn_name": name}
        turn = look_at_turn(self.host, offer, addresses, look.own, briefly=self.briefly)
        return {"turn_name": name, "turn": turn}

    def _turns(self, look: Look, offer: TurnOffer, trust: ssl.SSLContext) -> dict[str, Any]:
        name, addresses = self._place(look, offer.host)
        turns = look_at_turns(self.host, offer, addresses, trust) if addresses else None
        return {"turns_name": name, "turns": turns}

    def _place(self, look: Look, name: str) -> tuple[NameLook, tuple[str, ...]]:
        """Where that name leads, and the addresses at which to look: nothing is sent to somebody else's.

        The server's own name is known already.
        """
        assert look.name is not None
        same = _normal(name) == _normal(look.name.name)
        found = replace(look.name, name=name) if same else look_at_name(self.host, name, look.own)
        return found, tuple(each for each in found.addresses if each not in found.foreign)


class _Counting(Target):
    """The same target, whose sessions of TLS count what they send."""

    def ssl_context(self) -> ssl.SSLContext:
        return counted_tls(super().ssl_context())


class _Unverified(_Counting):
    """Likewise, whoever vouches for it."""

    def ssl_context(self) -> ssl.SSLContext:
        return unverified()


def _fields(target: Target) -> dict[str, Any]:
    return {each.name: getattr(target, each.name) for each in fields(Target)}


def _chosen(addresses: Sequence[str]) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
    """Those to look at closely, which are of both families if there are both, those to look at, and the rest."""
    first, *others = addresses
    others.sort(key=lambda each: (":" in each) == (":" in first))
    ordered = [first, *others]
    return ordered[:CLOSELY], ordered[CLOSELY:AT_ALL], ordered[AT_ALL:]


def _too_slow(service: str, address: str, port: int) -> PortSeen:
    words = "did not come to an end in time"
    return PortSeen(PortLook(service, address, port, "open", words, turned_away=True))


def _unless_too_much(
    look: Callable[[Host, Target, str, str], PortSeen], host: Host, target: Target, service: str, address: str
) -> PortSeen | None:
    try:
        return look(host, target, service, address)
    except OutOfPackets:
        return None


def _left_out(look: Look, sentence: str) -> Look:
    return replace(look, not_looked_at=(*look.not_looked_at, sentence))


def _result(future: Future[Part], deadline: Deadline) -> Part | None:
    wait([future], timeout=deadline.remaining())
    return future.result() if future.done() else None


def _normal(name: str) -> str:
    return name.lower().rstrip(".")
