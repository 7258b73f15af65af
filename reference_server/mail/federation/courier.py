"""Takes mail from the queue to other servers, again and again until they have it or it is returned to its sender."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import SplitResult

from reference_server.ledger import Ledger

from ..delivery import Notifier
from ..outgoing import AtOneServer, Settlement
from ..settings import MailSettings, OutgoingTls
from ..store import Store
from ..store_thread import StoreThread, StoreUnavailable
from .bounces import delivery_report
from .client import Client
from .conversation import Answer, Answers, Envelope, Fate
from .overrides import Overrides
from .posting import Poster
from .routes import Lookup, LookupFailed, NameNotFound, NoRoute, OwnPlace, address_in, find_routes

__all__ = ["Courier", "retry_delay", "tls_rule"]

STORE_AGAIN_AFTER = 1.0
"""Seconds after which the store is asked again that did not answer: the disk may be full."""
T = TypeVar("T")

log = logging.getLogger(__name__)


def retry_delay(settings: MailSettings, attempts: int) -> float:
    """Seconds until the next try, after so many before this one."""
    return min(settings.retry_after * 2.0 ** min(attempts, 30), settings.limits.longest_retry)


class Courier:
    """Runs from `start` to `close`. What it was about to send then is sent after the next start."""

    def __init__(
        self,
        settings: MailSettings,
        *,
        store: StoreThread,
        notifier: Notifier,
        lookup: Lookup,
        client: Client,
        tls_with: Callable[[str], OutgoingTls],
        own: OwnPlace,
        overrides: Overrides,
        ledger: Ledger,
    ) -> None:
        self._settings = settings
        self._store = store
        self._notifier = notifier
        self._lookup = lookup
        self._client = client
        self._tls_with = tls_with
        self._own = own
        self._overrides = overrides
        self._ledger = ledger
        self._wake = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._errands: dict[tuple[int, str], asyncio.Task[None]] = {}
        """By mail and domain: those that are on their way."""

    def start(self) -> None:
        self._running = asyncio.create_task(self._run())

    def wake(self) -> None:
        """There is new mail."""
        self._wake.set()

    async def close(self) -> None:
        ending = [task for task in (self._running, *self._errands.values()) if task is not None]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            pause = await self._send_what_is_due()
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _send_what_is_due(self) -> float | None:
        """Begin as many errands as there is room for; seconds until more is due, None: nothing is known of."""
        limits, busy, now = self._settings.limits, frozenset(self._errands), time.time()
        due = await self._patiently(lambda store: store.outgoing.due(now, busy))
        at_work = Counter(domain for _mail, domain in busy)
        for each in due:
            # Those for which there is no room wait for the end of another errand, which wakes us.
            if (
                at_work.total() < limits.connections_to_others
                and at_work[each.domain] < limits.connections_to_one
            ):
                at_work[each.domain] += 1
                self._begin(each)
        at = await self._patiently(lambda store: store.outgoing.next_try(now))
        return None if at is None else max(0.0, at - time.time())

    async def _patiently(self, call: Callable[[Store], T]) -> T:
        """What the store says when it answers again: nothing is sent twice because the disk was full in between."""
        while True:
            try:
                return await self._store.run(call)
            except StoreUnavailable:
                await asyncio.sleep(STORE_AGAIN_AFTER)  # a disk says to nobody when there is room

    def _begin(self, errand: AtOneServer) -> None:
        key = errand.mail, errand.domain
        task = self._errands[key] = asyncio.create_task(self._go(errand))

        def over(_task: asyncio.Task[None]) -> None:
            del self._errands[key]
            self._wake.set()

        task.add_done_callback(over)

    async def _go(self, errand: AtOneServer) -> None:
        try:
            content = await self._store.run(lambda store: store.outgoing.content(errand.mail))
            answers = await self._deliver(errand, content)
            await self._settle(errand, content, answers)
        except StoreUnavailable:
            await asyncio.sleep(STORE_AGAIN_AFTER)  # it is still in the queue
        except Exception:
            log.exception("mail for %s was not sent", errand.domain)
            await self._settle(
                errand, b"", dict.fromkeys(errand.recipients, Answer(Fate.LATER, "an error here"))
            )

    async def _deliver(self, errand: AtOneServer, content: bytes) -> Answers:
        envelope = Envelope(errand.sender, errand.recipients, content)
        override = self._overrides.find(errand.domain)
        if override is not None and override.exchanger is not None:
            return await self._post(override.exchanger, envelope)
        domain = errand.domain if override is None else override.domain
        try:
            routes = await find_routes(domain, self._lookup, self._own)
        except NoRoute as error:
            fate = Fate.NEVER if error.is_final else Fate.LATER
            return dict.fromkeys(errand.recipients, Answer(fate, str(error)))
        return await self._client.deliver(routes, envelope, self._tls_with(domain))

    async def _post(self, url: SplitResult, envelope: Envelope) -> Answers:
        host = url.hostname or ""
        is_address = address_in(f"[{host}]") is not None
        try:
            addresses = [host] if is_address else await self._lookup.addresses(host)
        except (NameNotFound, LookupFailed) as error:
            return dict.fromkeys(envelope.recipients, Answer(Fate.LATER, str(error)))
        rule = self._tls_with(f"[{host}]" if is_address else host)
        tls = self._client.context(rule) if url.scheme == "https" else None
        return await Poster(url, addresses, tls, self._settings.limits).deliver(envelope)

    async def _settle(self, errand: AtOneServer, content: bytes, answers: Answers) -> None:
        now = time.time()
        too_old = now - errand.accepted >= self._settings.queue_lifetime
        delivered = [each for each, answer in answers.items() if answer.fate is Fate.DELIVERED]
        failed = {
            each: answer.text
            for each, answer in answers.items()
            if answer.fate is Fate.NEVER or (answer.fate is Fate.LATER and too_old)
        }
        later = tuple(each for each in answers if each not in failed and each not in delivered)
        soon = bool(delivered) and all(answers[each].soon for each in later)
        wait = 0.0 if soon else retry_delay(self._settings, errand.attempts)
        settlement = Settlement(
            over=(*delivered, *failed),
            later=later,
            next_try=now + min(wait, max(0.0, errand.accepted + self._settings.queue_lifetime - now)),
            report=self._report(errand, failed, content) if failed else None,
        )
        inbox = await self._patiently(lambda store: store.settle(errand, settlement))
        if inbox is not None:
            self._notifier.publish([inbox])
        self._tell(errand, delivered, failed, {each: answers[each].text for each in later})

    def _report(self, errand: AtOneServer, failed: dict[str, str], content: bytes) -> bytes:
        return delivery_report(
            self._settings.domain,
            errand.sender,
            failed,
            content,
            now=time.time(),
            identity=secrets.token_hex(12),
        )

    def _tell(
        self, errand: AtOneServer, delivered: list[str], failed: dict[str, str], later: dict[str, str]
    ) -> None:
        if delivered:
            self._ledger.event(
                "message_sent", sender=errand.sender, recipients=delivered, domain=errand.domain
            )
        for kind, reasons in (("message_returned", failed), ("message_postponed", later)):
            if reasons:
                [reason, *_] = reasons.values()
                log.info("%s for %s: %r", kind, errand.domain, reason)
                self._ledger.event(kind, sender=errand.sender, recipients=list(reasons), reason=reason)


def tls_rule(settings: MailSettings, usual: OutgoingTls) -> Callable[[str], OutgoingTls]:
    """The rule for each domain: nobody vouches for addresses, nor for names that begin with an underscore."""

    def rule(domain: str) -> OutgoingTls:
        stated = settings.outgoing_tls or usual
        unknown = domain.startswith("_") or address_in(domain) is not None
        return OutgoingTls.ENCRYPT if stated is OutgoingTls.VERIFY and unknown else stated

    return rule
