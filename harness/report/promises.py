"""Promises that checks prove, by ID: two documents of madmail, and users' expectations beyond them (marked `ours`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["PROMISES", "Promise"]


@dataclass(frozen=True)
class Promise:
    """One promise, in a sentence for people."""

    sentence: str
    meaning: str
    """Sentences for somebody who knows neither protocol: what it is good for, or what breaks without it."""
    ours: bool = False
    """Users expect it, although the documents do not say it."""


PROMISES: Mapping[str, Promise] = {
    "DISC-1": Promise(
        "IMAP advertises METADATA (RFC 5464), at the latest after log-in.",
        "METADATA is how a phone asks its mail server for more than mail. Without the word in the "
        "server's list of capabilities, Delta Chat does not ask, and calls and apps use nobody's or "
        "somebody else's services.",
    ),
    "DISC-2": Promise(
        "METADATA gives the full URL of the iroh relay.",
        "Phones need the whole URL, with its scheme and its port. With a bare host name, or none, "
        "they fall back to relays of other people.",
    ),
    "DISC-3": Promise(
        "METADATA gives the TURN server as HOST:PORT:USERNAME:PASSWORD.",
        "One line with four parts is all that a phone knows about TURN. A part that is missing or in "
        "another order, and no call is relayed.",
    ),
    "DISC-4": Promise(
        "METADATA gives TURN over TLS as well.",
        "Networks that block UDP let TLS through. The second entry, `turns`, is for clients that can "
        "use it there; no Delta Chat does yet.",
    ),
    "DISC-5": Promise(
        "Delta Chat core picks both services up by itself.",
        "What the server offers must arrive in the app: a real Delta Chat core, started anew and told"
        " nothing, names these services as its own.",
    ),
    "DISC-6": Promise(
        "The advertised services work: the URL relays, the TURN server allocates.",
        "An address is no service. Whoever uses what METADATA says must get through: a frame from one"
        " node to another, an allocation from TURN.",
        ours=True,
    ),
    "DISC-7": Promise(
        "METADATA before log-in is refused and leaks nothing.",
        "The TURN line holds a password. Somebody who has not logged in gets neither it nor a hint of it.",
        ours=True,
    ),
    "MAIL-1": Promise(
        "Unencrypted mail is refused (523).",
        "A chatmail server carries no readable mail between its users. A mail that is not encrypted "
        "is refused with code 523 while it is handed over, so that the sender is told at once.",
        ours=True,
    ),
    "MAIL-2": Promise(
        "Mail that was answered with 250 is delivered exactly once, also when the server is killed.",
        "The answer 250 means that the server has the mail, for good. Neither a crash a moment later "
        "nor a restart may lose it, and nobody gets it twice.",
        ours=True,
    ),
    "MAIL-3": Promise(
        "IDLE reports new mail at once.",
        "A phone that waits (IMAP IDLE) is told of a new mail within a moment. Otherwise messages "
        "arrive when the app happens to look.",
        ours=True,
    ),
    "MAIL-4": Promise(
        "Nobody reads another user's mailbox; the first password of an account stays its password.",
        "The first log-in with a new address makes the account. Nobody else can log in to it "
        "afterwards, with any other password.",
        ours=True,
    ),
    "FED-1": Promise(
        "Servers mail each other, by name and by address: texts and files arrive once.",
        "People of one server write to people of another. Their servers find each other by the domain of "
        "the address, or are one, and hand the mail over: to everybody, once, also where the line between "
        "them is slow.",
        ours=True,
    ),
    "FED-2": Promise(
        "Mail for another server that was answered with 250 survives a crash, and waits while that server is down.",
        "The answer 250 is a promise for every recipient, wherever they live. The mail is kept on the disk "
        "until the other server has it, and is not sent twice.",
        ours=True,
    ),
    "FED-3": Promise(
        "Other servers bring mail for people here only, encrypted, and nobody sends through this server.",
        "A server that passes on what strangers send is used for spam within hours, and is then refused "
        "by everybody. Readable mail from outside is refused as that of its own users is.",
        ours=True,
    ),
    "FED-4": Promise(
        "Mail of another server is signed by the domain of its author (DKIM), or is refused.",
        "Without a signature anybody can write in anybody's name. The key of a domain is in its name "
        "server, and nobody else can sign with it.",
        ours=True,
    ),
    "TURN-1": Promise(
        "TURN credentials are the time of their expiry and an HMAC-SHA1 of it.",
        "The user name that METADATA gives is the time at which it expires, the password is computed "
        "from it. So the server needs no list of users, and a stolen line is worthless after a day.",
    ),
    "TURN-2": Promise(
        "TURN computes the HMAC with its own copy of the secret, and refuses any other password.",
        "Mail server and TURN server each have the secret, and nothing else connects them. If the two"
        " differ by one byte, every call that needs TURN fails.",
    ),
    "TURN-3": Promise(
        "The realm must match.",
        "The realm is part of what a password is computed from. One that differs from what is "
        "expected is refused like a wrong password.",
    ),
    "TURN-4": Promise(
        "Credentials are valid for a limited time; then a new allocation is refused, and running ones"
        " live on.",
        "Whoever sees a user's credentials once cannot use the server for ever. A call that is running "
        "when they expire is not cut off by it.",
    ),
    "TURN-5": Promise(
        "TURN listens on UDP, TCP and TLS.",
        "UDP is best for calls; TCP and TLS get through where UDP is blocked.",
    ),
    "TURN-6": Promise(
        "Clients are told an address that relays, also for a peer that is no client of this server.",
        "The address that TURN hands out must be one that others can reach from the internet, also "
        "those who do not use this server. A private or wrong one makes calls silent.",
    ),
    "TURN-7": Promise(
        "METADATA `turns` names the TLS listener; `turn` keeps a port that answers UDP.",
        "Clients of today use `turn`, over UDP. `turns` comes beside it and must not take its place.",
    ),
    "TURN-8": Promise(
        "Core finds TURN by a host name, also where DNS is unreliable.",
        "METADATA may name TURN by a host name. A phone looks it up itself, in networks whose name "
        "servers answer late or not at all.",
    ),
    "TURN-9": Promise(
        "A target that is meant to offer TURN and does not is noticed.",
        "The documents make TURN optional. A server that is meant to have it, and has stopped "
        "offering it, is found by `--must turn`, and by nobody's complaint.",
    ),
    "TURN-10": Promise(
        "A call runs through TURN where the peers have no direct path.",
        "Two phones behind strict routers hear and see each other, from the first ring to hanging up,"
        " for as long as they like. This is what TURN is for.",
    ),
    "TURN-11": Promise(
        "TURN relays to no loopback, private or own address that it did not allocate itself.",
        "TURN sends what anybody asks it to send. It must not be a way into the machine that it runs "
        "on, or into the network behind it.",
        ours=True,
    ),
    "IROH-1": Promise(
        "The relay speaks the generation of the target's clients over an HTTP upgrade.",
        "Relays and apps of iroh come in generations that do not understand each other. The server's "
        "relay speaks that of the Delta Chat versions which its users have.",
    ),
    "IROH-2": Promise(
        "Any node of any user can use the relay without set-up.",
        "Nobody registers at a relay: a node that nobody has ever seen, of a user of any server, is "
        "let in and gets its data.",
    ),
    "IROH-3": Promise(
        "A connection to the relay survives idle time, and is made again after a loss.",
        "An app that is silent for minutes stays connected, and one whose connection broke finds back"
        " by itself.",
    ),
    "IROH-4": Promise(
        "Peers announce their node IDs in messages, then form a swarm for each app.",
        "Opening an app in a chat brings its members together: each announces itself in a message, "
        "and the others join it.",
    ),
    "IROH-5": Promise(
        "Data goes direct where it can, and over the relay where it cannot.",
        "The relay helps two devices to find each other. It carries their data only where their "
        "routers let nothing through directly.",
    ),
    "IROH-6": Promise(
        "The relay is on by default.",
        "A server as it is installed offers the relay, without anybody switching it on.",
    ),
    "IROH-7": Promise(
        "The relay leaves UDP 3478 to the TURN service.",
        "A relay of iroh would like the same UDP port as TURN for its own purposes. There it is TURN "
        "that answers.",
    ),
    "IROH-8": Promise(
        "The relay is a service of its own, and restarts without touching mail.",
        "The relay can be stopped, updated and started while people read and send mail, and nobody notices.",
    ),
    "IROH-9": Promise(
        "In a swarm, every message of every peer reaches every other peer.",
        "A game or a shared document stays the same for everybody only if nothing is lost: every "
        "message, to everybody, once, however many take part.",
        ours=True,
    ),
    "IROH-10": Promise(
        "The relay refuses a log-in with a bad signature.",
        "A node's name is its public key. Whoever cannot sign with the key belonging to it is not let"
        " in, or somebody could receive data for others.",
        ours=True,
    ),
    "IROH-11": Promise(
        "Each frame is forwarded once, unchanged, from the right source.",
        "What one node sends to another arrives as it was, one time, with the sender's true name on it.",
        ours=True,
    ),
    "E2E-8": Promise(
        "Test 8 of madmail's suite: no log tells of users, their mail or their addresses.",
        "Who writes to whom, when, and from which place in the network is what a chatmail server is not to keep."
        " With logging off, no file of the server has it, but for mailboxes and the list of accounts.",
        ours=True,
    ),
    "E2E-10": Promise(
        "Test 10 of madmail's suite: the program replaces itself by what its makers have signed, and by nothing else.",
        "Who can put another program in the server's place has everything. So a file without the right signature is"
        " refused, however it comes, and one that does not run replaces nothing.",
        ours=True,
    ),
    "E2E-11": Promise(
        "Test 11 of madmail's suite: whoever logs in first gets an account, until the operator says no.",
        "A server that is full, or private, takes no new users: with creation at first log-in switched off nobody"
        " gets in by it, and those who have an account do not notice.",
        ours=True,
    ),
    "E2E-14": Promise(
        "Test 14 of madmail's suite: purged mail is gone.",
        "An operator who is told to remove mail, or who must make room, relies on it: what was purged is in no"
        " mailbox and in no file any more, and other mail stays.",
        ours=True,
    ),
    "E2E-17": Promise(
        "Test 17 of madmail's suite: the admin API does what it says, for whoever has its token.",
        "It can close the server, and delete accounts with their mail. So without the token nobody gets an answer,"
        " and what it reports as done has been done.",
        ours=True,
    ),
    "E2E-18": Promise(
        "Test 18 of madmail's suite: under another name nothing tells which program it is.",
        "Where running such a server is dangerous, its operator renames the program. The list of processes, its paths"
        " and its greetings must not give it away, and mail must go on.",
        ours=True,
    ),
    "E2E-20": Promise(
        "Tests 20 and 21 of madmail's suite: an exchanger carries mail between servers.",
        "Servers that do not reach each other name somebody in between who takes the mail and brings it. Each mail"
        " must go that way, and arrive once.",
        ours=True,
    ),
    "E2E-15": Promise(
        "Test 15 of madmail's suite: iroh discovery.",
        "madmail's own suite asks whether clients discover the relay. The same is asked here, with "
        "more detail.",
    ),
    "E2E-16": Promise(
        "Test 16 of madmail's suite: WebXDC realtime between peers.",
        "madmail's own suite asks whether two devices exchange realtime data. The same is asked here,"
        " and which way it went.",
    ),
    "E2E-path": Promise(
        "Each check of media or realtime says which way the bytes went, from counters outside the clients.",
        "That a call works may mean that it works over somebody else's server. So each such check counts "
        "packets at the devices' edges, and says: direct, relayed by this server, or through a "
        "stranger.",
        ours=True,
    ),
}
