"""Promises that checks prove, by ID: two documents of madmail, and users' expectations beyond them (marked `ours`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["PROMISES", "Promise"]


@dataclass(frozen=True)
class Promise:
    """One promise, in a sentence for people."""

    sentence: str
    ours: bool = False
    """Users expect it, although the documents do not say it."""


PROMISES: Mapping[str, Promise] = {
    "DISC-1": Promise("IMAP advertises METADATA (RFC 5464), at the latest after log-in."),
    "DISC-2": Promise("METADATA gives the full URL of the iroh relay."),
    "DISC-3": Promise("METADATA gives the TURN server as HOST:PORT:USERNAME:PASSWORD."),
    "DISC-4": Promise("METADATA gives TURN over TLS as well."),
    "DISC-5": Promise("Delta Chat core picks both services up by itself."),
    "DISC-6": Promise("The advertised services work: the URL relays, the TURN server allocates.", ours=True),
    "DISC-7": Promise("METADATA before log-in is refused and leaks nothing.", ours=True),
    "MAIL-1": Promise("Unencrypted mail is refused (523).", ours=True),
    "MAIL-2": Promise(
        "Mail that was answered with 250 is delivered exactly once, also when the server is killed.",
        ours=True,
    ),
    "MAIL-3": Promise("IDLE reports new mail at once.", ours=True),
    "MAIL-4": Promise(
        "Nobody reads another user's mailbox; the first password of an account stays its password.", ours=True
    ),
    "TURN-1": Promise("TURN credentials are the time of their expiry and an HMAC-SHA1 of it."),
    "TURN-2": Promise(
        "TURN computes the HMAC with its own copy of the secret, and refuses any other password."
    ),
    "TURN-3": Promise("The realm must match."),
    "TURN-4": Promise(
        "Credentials are valid for a limited time; then a new allocation is refused, and running ones live on."
    ),
    "TURN-5": Promise("TURN listens on UDP, TCP and TLS."),
    "TURN-6": Promise(
        "Clients are told an address that relays, also for a peer that is no client of this server."
    ),
    "TURN-7": Promise("METADATA `turns` names the TLS listener; `turn` keeps a port that answers UDP."),
    "TURN-8": Promise("Core finds TURN by a host name, also where DNS is unreliable."),
    "TURN-9": Promise("A target that is meant to offer TURN and does not is noticed."),
    "TURN-10": Promise("A call runs through TURN where the peers have no direct path."),
    "TURN-11": Promise(
        "TURN relays to no loopback, private or own address that it did not allocate itself.", ours=True
    ),
    "IROH-1": Promise("The relay speaks the generation of the target's clients over an HTTP upgrade."),
    "IROH-2": Promise("Any node of any user can use the relay without set-up."),
    "IROH-3": Promise("A connection to the relay survives idle time, and is made again after a loss."),
    "IROH-4": Promise("Peers announce their node IDs in messages, then form a swarm for each app."),
    "IROH-5": Promise("Data goes direct where it can, and over the relay where it cannot."),
    "IROH-6": Promise("The relay is on by default."),
    "IROH-7": Promise("The relay leaves UDP 3478 to the TURN service."),
    "IROH-8": Promise("The relay is a service of its own, and restarts without touching mail."),
    "IROH-9": Promise("In a swarm, every message of every peer reaches every other peer.", ours=True),
    "IROH-10": Promise("The relay refuses a log-in with a bad signature.", ours=True),
    "IROH-11": Promise("Each frame is forwarded once, unchanged, from the right source.", ours=True),
    "E2E-15": Promise("Test 15 of madmail's suite: iroh discovery."),
    "E2E-16": Promise("Test 16 of madmail's suite: WebXDC realtime between peers."),
    "E2E-path": Promise(
        "Each check of media or realtime says which way the bytes went, from counters outside the clients.",
        ours=True,
    ),
}
