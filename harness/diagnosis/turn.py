"""TURN: each step of a client's way to a relayed address, and where it ends."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..causes.cause import Weight
from ..report.looks import CallLook, Look, MailLook, PortLook, TurnLook
from ..text import as_sentence
from .mail import certificate_in_words
from .part import Part
from .places import (
    judge_dead_addresses,
    judge_foreign,
    judge_name,
    listed,
    reached_in_words,
    told_with_the_name,
)

__all__ = ["judge_call", "judge_turn", "judge_turns"]

CLOCKS_DIFFER = 60.0
"""Seconds by which clocks may differ before that explains anything."""
OUR_CLOCK = "this machine's, which nothing keeps right, is not to be believed: `timedatectl set-ntp true`"
FIRST_EXPIRY = 10**9
"""Unix seconds, in 2001: a smaller user name is a lifetime, or a counter."""
QUOTAS = (486, 508)
WRONG_PASSWORD = (400, 401, 431, 437, 441)
"""RFC 8489 has 401; pion and webrtc-rs say 400, coturn 437 for a realm."""
TRY_ALTERNATE = 300
OTHER_PLACES = {"private": "private", "foreign": "not its own"}
CREDENTIALS = (
    "turn.secret_differs",
    "turn.clock_wrong",
    "turn.credentials_expired",
    "turn.expiry_in_milliseconds",
    "turn.realm_differs",
    "turn.redirect_loop",
)


def judge_turn(look: Look) -> Part:
    """The TURN server that METADATA names for calls."""
    part = Part()
    mail, name = look.mail, look.turn_name
    if mail is None or name is None:
        return part
    title = f"TURN {mail.turn}"
    for each in (judge_name(name, "turn", title), judge_foreign(name, "turn", title, look.own)):
        part.include(each)
    turn = look.turn
    if turn is None:
        return part
    answering = [each for each in turn.udp if each.reached == "open"]
    if not answering:
        _judge_silence(part, title, turn)
        return part
    part.exclude("turn.not_answering", "turn.udp_filtered")
    part.include(judge_dead_addresses(turn.udp, "turn", title, told_with_the_name(look, name)))
    if _judge_allocation(part, title, look, mail, turn):
        _judge_relaying(part, title, turn)
    _judge_secrets(part, title, mail, turn)
    return part


def _judge_silence(part: Part, title: str, turn: TurnLook) -> None:
    """STUN over UDP is not answered. A refusal comes from the machine itself: no firewall stands before it."""
    tried = [each for each in turn.udp if each.reached != "no route"]
    if not tried:
        part.cannot_tell(title, f"this machine has no way to {listed([each.address for each in turn.udp])}")
        return
    udp = f"STUN over UDP: {reached_in_words(tried)}."
    tcp = [each for each in turn.tcp if each.reached != "no route"]
    over_tcp = f"Over TCP at the same port: {_tcp_in_words(tcp)}."
    strange = [each.trouble for each in tried if each.trouble]
    if any(each.reached == "refused" for each in tried) or strange:
        part.found("turn.not_answering", title, "does not answer", udp, *strange, over_tcp)
    elif any(each.reached == "open" for each in tcp):
        part.found("turn.udp_filtered", title, "answers over TCP, and UDP is filtered", udp, over_tcp)
    elif any(each.trouble for each in tcp):
        part.found(
            "turn.not_answering",
            title,
            "takes connections, and does not answer",
            udp,
            f"{over_tcp} The program hangs: its machine answers for it, and it does not.",
            rivals=("turn.udp_filtered",),
            tell_apart="On the server: `turnutils_stunclient 127.0.0.1` is not answered either if it hangs.",
        )
    elif any(each.reached == "refused" for each in tcp):
        part.found(
            "turn.udp_filtered",
            title,
            "UDP gets no answer, not even a refusal",
            udp,
            f"{over_tcp} So the machine is up, and would refuse UDP, too, if nothing listened and nothing filtered.",
            rivals=("turn.not_answering",),
            tell_apart=f"On the server: `ss -lnup | grep {turn.port}` shows whether a program listens; one that "
            "listens and hangs looks the same.",
        )
    else:
        part.found(
            "turn.udp_filtered",
            title,
            "nothing answers, over UDP or TCP",
            udp,
            over_tcp,
            "Other ports of the same server answer.",
            rivals=("turn.not_answering",),
            tell_apart=f"On the server: `ss -lnup | grep {turn.port}` shows whether a program listens.",
        )


def _tcp_in_words(ports: Sequence[PortLook]) -> str:
    return ", ".join(
        f"{each.address} {each.trouble}" if each.trouble else reached_in_words([each]) for each in ports
    )


def _judge_allocation(part: Part, title: str, look: Look, mail: MailLook, turn: TurnLook) -> bool:
    """The first allocation. True if it was granted."""
    first = turn.first
    if first is None:
        return False
    clock = _clock_in_words(look)
    granted = first.answer == "granted"
    expires = mail.expires_in_s or 0.0
    by_server = expires - (look.clock_ahead_s or 0.0)
    if mail.expiry_in_milliseconds:
        part.found(
            "turn.expiry_in_milliseconds",
            title,
            "the credentials expire in thousands of years",
            _digits_in_words(look, mail),
            _answer_in_words(turn),
        )
    elif granted and expires <= 0 < by_server and not look.our_clock_is_kept:
        part.cannot_tell(title, f"{clock[:-1]}, and TURN goes by the server's: {OUR_CLOCK}")
    elif (min(expires, by_server) <= 0 or not granted) and abs(look.clock_ahead_s or 0.0) > CLOCKS_DIFFER:
        part.found("turn.clock_wrong", title, "the server's clock is wrong", clock, _expiry_in_words(expires))
    elif by_server <= 0:
        part.found(
            "turn.credentials_expired",
            title,
            "the credentials have expired when they are given",
            *([_digits_in_words(look, mail)] if look.time + expires < FIRST_EXPIRY else []),
            _expiry_in_words(by_server),
            clock,
        )
    elif not granted:
        _judge_refusal(part, title, look, turn)
    if granted:
        part.exclude(
            *(each for each in CREDENTIALS if each not in {found.cause.name for found in part.causes})
        )
    return granted


def _judge_refusal(part: Part, title: str, look: Look, turn: TurnLook) -> None:
    """Credentials that are in time are refused, or not answered."""
    assert turn.first is not None and look.mail is not None
    first, answer = turn.first, _answer_in_words(turn)
    if first.answer == "silent":
        part.found(
            "turn.not_answering",
            title,
            "answers STUN, and no Allocate: something else has the port",
            f"STUN over UDP is answered at {turn.address}, and {answer[:1].lower()}{answer[1:]}",
            "An iroh relay with `enable_stun = true`, or a plain STUN server, does so.",
        )
    elif first.answer == "open":
        part.found(
            "turn.secret_well_known",
            title,
            "asks nobody for credentials",
            "Allocate without any credentials was answered with success (`no-auth` of coturn does that).",
        )
    elif first.answer == "strange":
        part.cannot_tell(title, first.words)
    elif first.code == TRY_ALTERNATE:
        _judge_redirect(part, title, turn)
    elif first.code in QUOTAS:
        part.found("turn.quota_too_small", title, "gives no allocation at all", answer)
    elif turn.realm_refused:
        part.found(
            "turn.realm_differs", title, "refuses its own realm", f"Its 401 names `{turn.realm}`.", answer
        )
    elif first.code in WRONG_PASSWORD and look.mail.password_problem:
        part.found(
            "metadata.turn_unusable",
            title,
            "refuses the password that IMAP gives out, which no secret makes",
            f"The password in METADATA: {look.mail.password_problem}.",
            answer,
        )
    elif first.code in WRONG_PASSWORD:
        elsewhere = turn.address not in (look.name.addresses if look.name else ())
        part.found(
            "turn.secret_differs",
            title,
            "answers, and refuses the password that IMAP gives out",
            f"UDP {turn.port} answers STUN; its realm `{turn.realm}` is the one that was used.",
            _expiry_in_words((look.mail.expires_in_s or 0.0) - (look.clock_ahead_s or 0.0)),
            _clock_in_words(look),
            f"{answer} Only the secret is left.",
            rivals=("turn.clock_wrong",) if elsewhere else (),
            tell_apart="TURN is at another machine than mail, whose clock cannot be seen from here: compare `date "
            "-u` on both."
            if elsewhere
            else "",
        )
    else:
        part.cannot_tell(title, answer)


def _judge_redirect(part: Part, title: str, turn: TurnLook) -> None:
    answer = f"Allocate was answered: 300 {turn.first.words if turn.first else ''}".rstrip() + "."
    there = turn.redirected
    if not turn.redirected_to:
        part.found("turn.redirect_loop", title, "sends clients away, and says not where", answer)
    elif there is None:
        part.found(
            "turn.address_foreign",
            title,
            f"sends clients on to {turn.redirected_to}, which is not this server's",
            answer,
            f"ALTERNATE-SERVER is {turn.redirected_to}. Nothing was sent there.",
        )
    elif there.answer != "granted":
        how = f"{there.code} {there.words}".strip() if there.code else there.words or "no answer"
        part.found(
            "turn.redirect_loop",
            title,
            f"sends clients on to {turn.redirected_to}, which does not serve them",
            answer,
            f"{turn.redirected_to} was asked once: {how}.",
        )
    else:
        part.ok(title, f"sends clients on to {turn.redirected_to}, which gives {there.relayed}")


def _judge_relaying(part: Part, title: str, turn: TurnLook) -> None:
    assert turn.first is not None
    relayed, place = turn.first.relayed, turn.first.place
    for kind, words in OTHER_PLACES.items():
        cause = f"turn.relayed_address_{kind}"
        if place == kind:
            part.found(
                cause,
                title,
                f"accepts the password, and gives {relayed}, which is {words}",
                f"XOR-RELAYED-ADDRESS is {relayed}; the server is at {turn.address}.",
                "Nothing was sent there.",
            )
        else:
            part.exclude(cause)
    if place == "own":
        part.ok(title, f"accepts the password, gives {relayed}")
        _judge_paths(part, turn)
    second = turn.second
    if second is not None and second.answer == "refused":
        part.found(
            "turn.quota_too_small",
            title,
            "gives one allocation, and no second",
            f"The second Allocate from this address, with the first still there: {second.code} {second.words}.",
        )
    elif second is not None and second.answer == "granted":
        part.exclude("turn.quota_too_small")
    if turn.private_peers:
        part.found(
            "turn.reaches_private_peers",
            "TURN peers",
            f"relays to {listed(turn.private_peers)}",
            f"CreatePermission for {listed(turn.private_peers)} was answered with success.",
        )
    else:
        part.exclude("turn.reaches_private_peers")


def _judge_paths(part: Part, turn: TurnLook) -> None:
    """Through the relayed address: between two allocations, and to and from a socket that has none."""
    assert turn.first is not None
    title, relayed = "TURN relay ports", turn.first.relayed
    pair = {
        True: "Two clients that are both relayed do hear each other, so TURN itself works.",
        False: "Two clients that are both relayed do not hear each other either.",
        None: "Two clients that are both relayed could not be tried.",
    }[turn.pair]
    if turn.from_outside is False and turn.pair is not False:
        part.found(
            "turn.relay_ports_closed",
            title,
            f"nothing from outside reaches {relayed}",
            f"A datagram from here to {relayed} did not arrive (3 tries, with a permission for us).",
            pair,
        )
    elif turn.from_outside and turn.to_outside is False:
        part.found(
            "turn.relay_ports_closed",
            title,
            f"what {relayed} sends does not get out",
            f"A datagram from here to {relayed} arrived, and none of 3 answers came back.",
            pair,
        )
    elif turn.pair is False:
        part.found(
            "turn.does_not_relay",
            title,
            "nothing passes between two relayed addresses",
            pair.replace(" either", ""),
            "A datagram from outside arrives."
            if turn.from_outside
            else "A datagram from outside does not arrive."
            if turn.from_outside is False
            else f"From outside: {turn.outside_words or 'not tried'}.",
        )
    elif turn.from_outside:
        part.exclude("turn.relay_ports_closed", "turn.does_not_relay")
        part.ok(title, "open: a datagram from outside arrives, and is answered")
    else:
        part.exclude("turn.does_not_relay")
        part.unseen(title, turn.outside_words or "not tried")


def _judge_secrets(part: Part, title: str, mail: MailLook, turn: TurnLook) -> None:
    granted = turn.first is not None and turn.first.answer == "granted"
    source = turn.secret_accepted or (mail.known_secret if granted else "")
    if source:
        how = (
            "An allocation was granted to credentials that were made of it."
            if turn.secret_accepted
            else "The credentials in METADATA were made of it, and TURN grants an allocation to them."
        )
        part.found("turn.secret_well_known", title, f"its secret is {source}", how)
    elif granted:
        part.exclude("turn.secret_well_known")


def judge_call(call: CallLook | None) -> Part:
    """A call between real clients through TURN."""
    part = Part()
    if call is None:
        return part
    title = "a call through TURN"
    after = "" if call.connected_ms is None else f" after {call.connected_ms / 1000:.1f} s"
    match call.answer:
        case "heard":
            part.ok(title, f"connects{after}, and each side hears the other")
            part.exclude("turn.calls_fail")
        case "failed":
            tried = f"Two Delta Chat clients were connected{after}." if after else "No connection came about."
            part.found("turn.calls_fail", title, call.words, tried, as_sentence(call.words))
        case "undecided":
            part.cannot_tell(title, call.words)
        case "not tried":
            part.unseen(title, call.words)
    return part


def judge_turns(look: Look, must: Collection[str] = ()) -> Part:
    """TURN over TLS, which no Delta Chat of today uses."""
    part = Part()
    turns = look.turns
    if look.mail is None:
        return part
    title = f"TURN over TLS {look.mail.turns}"
    weight = Weight.SICK if "turns" in must else None
    name = look.turns_name
    if name is not None and (look.turn_name is None or name.name != look.turn_name.name):
        led = judge_name(name, "turn", title)
        led.include(judge_foreign(name, "turn", title, look.own))
        part.include(led.of_weight(weight or Weight.NOTE))
    if turns is None:
        return part
    if turns.certificate is not None and turns.certificate.problem:
        part.found(
            "turn.turns_certificate",
            title,
            f"its certificate is {turns.certificate.problem}",
            *certificate_in_words(turns.certificate),
            weight=weight,
        )
        return part
    if turns.answers:
        part.exclude("turn.turns_without_tls", "turn.turns_certificate")
        part.ok(title, "answers")
        return part
    what = {"refused": "nothing listens there over TCP", "silent": "TCP gets no answer there"}
    said = what.get(turns.reached, turns.trouble or "nothing is said")
    if turns.reached == "no route":
        part.unseen(title, "this machine has no way there")
        return part
    part.found("turn.turns_without_tls", title, said, f"Port {turns.port}: {said}.", weight=weight)
    return part


def _answer_in_words(turn: TurnLook) -> str:
    first = turn.first
    if first is None:
        return "Allocate was not tried."
    match first.answer:
        case "granted":
            return f"Allocate with these credentials was granted: {first.relayed}."
        case "silent":
            return "Allocate was not answered."
        case "refused":
            return f"Allocate was answered: {first.code} {first.words}".rstrip(" .") + "."
    return f"{first.words}."


def _digits_in_words(look: Look, mail: MailLook) -> str:
    return (
        f"The user name is {mail.expiry or 'another number'}, and the unix time of now is {look.time:.0f} s."
    )


def _expiry_in_words(seconds: float) -> str:
    if seconds <= 0:
        return f"The credentials expired {_duration(-seconds)} ago."
    return f"The user name expires in {_duration(seconds)}."


def _clock_in_words(look: Look) -> str:
    if look.clock_ahead_s is None:
        return "The server did not tell the time: our own clock was used."
    ahead = look.clock_ahead_s
    if abs(ahead) <= CLOCKS_DIFFER:
        return f"The server's clock and ours are {abs(ahead):.1f} s apart."
    return f"The server's clock is {_duration(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} ours."


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
