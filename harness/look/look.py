"""One look at a server from one host: names, ports, certificates, clock, mail, iroh relay and TURN, in some seconds.

Each step stands on those before it, and what is independent runs side by side. Nothing of it raises, whatever the
server does, and it ends in time.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, wait
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, TypeVar

from ..accounts import Credentials, GivenAccounts
from ..calls.servers import TurnOffer
from ..clients.mail.web import WebError
from ..hosts import Host, MissingCapability
from ..report.looks import Look, MailLook, NameLook, PortLook
from ..target import Impact, Target
from ..urls import RelayUrl
from ..waiting import Deadline
from .certificates import unverified
from .host import KnowingHost, LookingHost
from .mail import MailSeen, look_at_delivery, look_at_session
from .names import look_at_name
from .ports import MAIL_PORTS, PortSeen, look_at_mail_port
from .relay import look_at_relay
from .together import side_by_side, started
from .turn import look_at_turn, look_at_turns

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
    with LookingHost(host) as looking:
        look = _Looker(target, looking, parts, briefly, Deadline(within)).run()
    made = look.mail is not None and look.mail.log_in != "refused"
    left = min(target.accounts.left_behind, 2) if made else 0
    return replace(look, seconds=round(time.monotonic() - began, 2), accounts_left=left)


@dataclass(frozen=True)
class _Looker:
    target: Target
    host: Host
    parts: Collection[str]
    briefly: bool
    deadline: Deadline

    def run(self) -> Look:
        name = look_at_name(self.host, self.target.host)
        own = tuple(sorted({*name.addresses, *self.target.other_addresses}))
        given = isinstance(self.target.accounts, GivenAccounts)
        look = Look(self.target.name, round(time.time(), 3), given_accounts=given, own=own, name=name)
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
        except (WebError, MissingCapability) as error:
            return _left_out(look, f"everything behind the log-in: {error}")
        seen = self._session(host, target, bob, serving[0])  # from its first log-in on, it can get mail
        if seen is None:
            return replace(
                look, mail=MailLook(serving[0], "broken", "the log-in did not come to an end in time")
            )
        look = replace(look, mail=seen.look)
        return (
            self._services(look, host, target, seen, (alice, bob)) if seen.look.log_in == "accepted" else look
        )

    def _with_ports(self, look: Look) -> Look:
        assert look.name is not None
        wanted = [(service, each) for each in look.name.addresses for service in MAIL_PORTS]
        found: dict[tuple[str, str], PortSeen] = side_by_side(
            {each: partial(look_at_mail_port, self.host, self.target, *each) for each in wanted},
            within=min(PORTS_WITHIN, self.deadline.remaining()),
        )
        too_slow = "did not come to an end in time"
        ports = [
            found[each].port
            if each in found
            else PortLook(each[0], each[1], getattr(self.target, each[0]), "open", too_slow, turned_away=True)
            for each in wanted
        ]
        seen = [found[each] for each in wanted if each in found]
        clocks = [each.clock_ahead_s for each in seen if each.clock_ahead_s is not None]
        return replace(
            look,
            ports=tuple(ports),
            certificates=tuple(each.certificate for each in seen if each.certificate is not None),
            clock_ahead_s=clocks[0] if clocks else None,
        )

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
        return look, _Unverified(
            **{each.name: getattr(self.target, each.name) for each in fields(self.target)}
        )

    def _accounts(self, target: Target) -> tuple[Credentials, Credentials]:
        """The second is the first where one is enough, or the caller gave no other."""
        if self.briefly:
            first = target.any_account()
            return first, first
        target.accounts.begin()
        first = target.new_account()
        try:
            return first, target.new_account()
        except MissingCapability:
            return first, first

    def _session(self, host: Host, target: Target, account: Credentials, address: str) -> MailSeen | None:
        future = started(lambda: look_at_session(host, target, account, address))
        return _result(future, self.deadline)

    def _services(
        self,
        look: Look,
        host: Host,
        target: Target,
        seen: MailSeen,
        accounts: tuple[Credentials, Credentials],
    ) -> Look:
        wanted: dict[str, Callable[[], dict[str, Any]]] = {}
        if not self.briefly and (
            "mail" in self.parts or look.clock_ahead_s is None
        ):  # a mail tells the time, too
            wanted["delivery of mail"] = lambda: {
                "mail": look_at_delivery(host, target, seen.look, *accounts)
            }
        if "relay" in self.parts and (url := seen.relay) is not None:
            wanted["the iroh relay"] = lambda: self._relay(look, url)
        if "turn" in self.parts and (offer := seen.turn) is not None:
            wanted["TURN"] = lambda: self._turn(look, offer)
        if "turn" in self.parts and (turns := seen.turns) is not None:
            wanted["TURN over TLS"] = lambda: self._turns(look, turns, target.ssl_context())
        futures = {name: started(each) for name, each in wanted.items()}
        wait(futures.values(), timeout=self.deadline.remaining())
        found: dict[str, Any] = {}
        late = [name for name, future in futures.items() if not future.done()]
        for future in futures.values():
            found |= future.result() if future.done() else {}
        look = replace(look, **found, too_slow=tuple(late))
        if look.clock_ahead_s is None and look.mail is not None:
            look = replace(look, clock_ahead_s=look.mail.clock_ahead_s)
        left_out = "TURN" in wanted and not self.briefly and not self._may_try_secrets
        return _left_out(look, SECRETS_LEFT_OUT) if left_out else look

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
        turn = look_at_turn(
            self.host, offer, addresses, look.own, briefly=self.briefly, try_secrets=self._may_try_secrets
        )
        return {"turn_name": name, "turn": turn}

    def _turns(self, look: Look, offer: TurnOffer, trust: ssl.SSLContext) -> dict[str, Any]:
        _, addresses = self._place(look, offer.host)
        return {"turns": look_at_turns(self.host, offer, addresses, trust)} if addresses else {}

    def _place(self, look: Look, name: str) -> tuple[NameLook, tuple[str, ...]]:
        """Where that name leads, and the addresses at which to look: nothing is sent to somebody else's.

        The server's own name is known already.
        """
        assert look.name is not None
        same = _normal(name) == _normal(look.name.name)
        found = replace(look.name, name=name) if same else look_at_name(self.host, name, look.own)
        return found, tuple(each for each in found.addresses if each not in found.foreign)


class _Unverified(Target):
    """The same target, whoever vouches for it."""

    def ssl_context(self) -> ssl.SSLContext:
        return unverified()


def _left_out(look: Look, sentence: str) -> Look:
    return replace(look, not_looked_at=(*look.not_looked_at, sentence))


def _result(future: Future[Part], deadline: Deadline) -> Part | None:
    wait([future], timeout=deadline.remaining())
    return future.result() if future.done() else None


def _normal(name: str) -> str:
    return name.lower().rstrip(".")
