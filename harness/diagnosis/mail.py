"""The server itself: name, ports, certificates, log-in, METADATA, delivery."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator, Sequence

from ..causes.cause import Weight
from ..report.looks import CertificateLook, Look, MailLook, PortLook
from .part import Part
from .places import judge_name, listed, reached_in_words

__all__ = ["judge_delivery", "judge_ground", "judge_session"]

NEEDED = ("imaps", "submissions")
"""Ports without which no phone gets on; the others are for some."""
NUMBERS = {"imaps": "IMAP", "submissions": "SMTP", "submission": "SMTP with STARTTLS", "https": "HTTPS"}
OF_CERTIFICATE = {
    "expired": "expired",
    "not yet valid": "expired",
    "wrong name": "wrong_name",
    "untrusted": "untrusted",
}
SOON = 14
"""Days that a certificate should have left: renewal comes at 30."""
GROUND = "name, ports, certificates"
LOG_IN = "log-in, METADATA"
MAIL = "mail"


def judge_ground(look: Look) -> Part:
    """Everything that must hold before a log-in."""
    assert look.name is not None
    part = judge_name(look.name, "name", GROUND)
    if not look.name.addresses:
        return part
    _judge_addresses(part, look)
    _judge_ports(part, look)
    _judge_certificates(part, look)
    if not part.causes:
        part.ok(GROUND, _ground_in_words(look))
    return part


def _judge_addresses(part: Part, look: Look) -> None:
    by_address = {
        each.address: [port for port in look.ports if port.address == each.address] for each in look.ports
    }
    alive = [each for each, ports in by_address.items() if any(port.reached == "open" for port in ports)]
    if not alive:
        return
    dead = [
        each
        for each, ports in by_address.items()
        if each not in alive and any(port.reached != "no route" for port in ports)
    ]
    for each, ports in by_address.items():
        if all(port.reached == "no route" for port in ports):
            part.unseen(GROUND, f"{each} was not tried: this machine has no way there")
    if dead:
        part.found(
            "name.address_dead",
            GROUND,
            f"nobody answers at {listed(dead)}",
            *(f"{each}: none of {_numbers(by_address[each])} takes a connection." for each in dead),
            f"{listed(alive)} answers.",
        )
    else:
        part.exclude("name.address_dead")


def _judge_ports(part: Part, look: Look) -> None:
    alive = {each.address for each in look.ports if each.reached == "open"}
    tried = [
        each for each in look.ports if each.reached != "no route" and (each.address in alive or not alive)
    ]
    if not tried:
        part.cannot_tell(GROUND, "this machine has no way to any address of the server")
        return
    if not alive and all(each.reached == "silent" for each in tried):
        addresses = list(dict.fromkeys(each.address for each in tried))
        part.found(
            "name.address_dead",
            GROUND,
            f"nothing answers at {listed(addresses)}",
            f"None of the ports {_numbers(tried)} answers in any way.",
            rivals=("mail.port_filtered",),
            tell_apart="Is the machine up, by its provider's console, and does it reach others? Then a firewall "
            "swallows everything; otherwise the name has the address of a machine that is gone.",
        )
        return
    for cause, reached in (("mail.port_closed", "refused"), ("mail.port_filtered", "silent")):
        for weight, services in ((Weight.SICK, NEEDED), (Weight.NOTE, ("submission", "https"))):
            found = [each for each in tried if each.reached == reached and each.service in services]
            if found:
                _port_trouble(part, cause, found, tried, weight)
        if not any(each.reached == reached for each in tried):
            part.exclude(cause)
    _judge_greetings(part, tried)
    for each in tried:
        if each.service == "https" and each.trouble:
            part.unseen(GROUND, f"port {each.port} takes connections, and speaks no HTTPS: {each.trouble}")


def _port_trouble(
    part: Part, cause: str, found: Sequence[PortLook], tried: Sequence[PortLook], weight: Weight
) -> None:
    others = [each for each in tried if each.reached == "open"]
    what = "refuse" if cause == "mail.port_closed" else "swallow"
    part.found(
        cause,
        GROUND,
        f"{_numbers(found)} {what}{'s' if len({each.port for each in found}) == 1 else ''} connections",
        *(f"Port {each.port} ({NUMBERS[each.service]}): {reached_in_words([each])}." for each in found),
        *([f"{_numbers(others)} of the same server can be reached."] if others else []),
        weight=weight,
    )


def _judge_greetings(part: Part, tried: Sequence[PortLook]) -> None:
    for services, cause in (
        (("imaps",), "mail.refuses_sessions"),
        (("submissions", "submission"), "mail.smtp_refuses_sessions"),
    ):
        opened = [each for each in tried if each.service in services and each.reached == "open"]
        away = [each for each in opened if each.turned_away]
        if away:
            part.found(
                cause,
                GROUND,
                f"port {away[0].port} takes connections and serves nobody",
                *(_greeting_in_words(each) for each in away),
            )
        elif opened:
            part.exclude(cause)


def _greeting_in_words(port: PortLook) -> str:
    said = f"it says `{port.greeting}`" if port.greeting else "it says nothing"
    return f"Port {port.port} at {port.address}: {said}{f'; {port.trouble}' if port.trouble else ''}."


def _judge_certificates(part: Part, look: Look) -> None:
    wrong = [each for each in look.certificates if each.problem]
    of_mail = [each for each in wrong if each.service in NEEDED]
    for problem, rest in OF_CERTIFICATE.items():
        cause = f"mail.certificate_{rest}"
        found = [each for each in (of_mail or wrong) if each.problem == problem]
        if found:
            weight = Weight.NOTE if not of_mail or _is_usual(found[0]) else None
            part.found(
                cause,
                GROUND,
                f"the certificate at {listed([str(each.port) for each in found])} is {_problem_in_words(found[0])}",
                *certificate_in_words(found[0]),
                *(
                    ["The look went on without verifying it, with accounts made for that."]
                    if not look.verified
                    else []
                ),
                weight=weight,
            )
    if look.certificates and not wrong:
        part.exclude(*(f"mail.certificate_{each}" for each in dict.fromkeys(OF_CERTIFICATE.values())))


def _is_usual(certificate: CertificateLook) -> bool:
    """A bare address has no public CA: people join such a server by a link that allows its own certificate."""
    try:
        ipaddress.ip_address(certificate.host)
    except ValueError:
        return False
    return certificate.self_signed and certificate.problem == "untrusted"


def _problem_in_words(certificate: CertificateLook) -> str:
    if certificate.problem == "expired" and certificate.days_left is not None:
        return f"expired since {-certificate.days_left:.0f} days"
    words = {"wrong name": "for another name", "untrusted": "vouched for by nobody that clients know"}
    return words.get(certificate.problem, certificate.problem)


def certificate_in_words(certificate: CertificateLook) -> Iterator[str]:
    """Sentences on what was read from a port."""
    signed = (
        "it is signed by itself"
        if certificate.self_signed
        else f"it is signed by {certificate.issuer or 'nobody'}"
    )
    names = f"it is for {listed(certificate.names)}" if certificate.names else "it has no name"
    yield f"Read from port {certificate.port}: {names}; {signed}."
    if certificate.days_left is not None and certificate.days_left < 0:
        yield f"Its last day was {-certificate.days_left:.0f} days ago."
    if certificate.problem == "wrong name":
        yield f"Clients ask for {certificate.host}."
    if certificate.detail:
        yield f"TLS says: {certificate.detail}."


def _ground_in_words(look: Look) -> str:
    ports = _numbers([each for each in look.ports if each.reached == "open"])
    days = [each.days_left for each in look.certificates if each.days_left is not None]
    words = [ports, f"valid for {min(days):.0f} days" if days else "no certificate seen"]
    if look.clock_ahead_s is not None:
        words.append(f"clock {abs(look.clock_ahead_s):.1f} s apart")
    if days and min(days) < SOON:
        words.append("renew it now")
    return "; ".join(words)


def _numbers(ports: Collection[PortLook]) -> str:
    return " ".join(dict.fromkeys(str(each.port) for each in ports))


def judge_session(look: Look, must: Collection[str]) -> Part:
    """Log-in, capabilities, METADATA. `must`: `turn`, `turns`, `iroh_relay`: their absence is no note then."""
    part = Part()
    mail = look.mail
    if mail is None:
        return part
    if mail.log_in == "refused":
        if look.given_accounts:
            part.cannot_tell(LOG_IN, f"the account that was given is refused: {mail.log_in_words}")
        else:
            part.found(
                "mail.registration_closed",
                LOG_IN,
                "a new account is refused",
                f"The log-in with a new address and a random password was answered: {mail.log_in_words}.",
            )
        return part
    if mail.log_in == "failed":
        part.found(
            "mail.log_in_fails",
            LOG_IN,
            "nobody can log in",
            f"The log-in {'with the given account' if look.given_accounts else 'of a new account'} was answered: "
            f"{mail.log_in_words}.",
        )
        return part
    if mail.log_in == "limited":
        part.cannot_tell(LOG_IN, f"it takes no more log-ins from here for now: {mail.log_in_words}")
        return part
    if mail.log_in != "accepted":
        part.cannot_tell(LOG_IN, f"the log-in came to no end: {mail.log_in_words or 'no answer'}")
        return part
    part.exclude("mail.registration_closed", "mail.log_in_fails")
    _judge_metadata(part, mail, must)
    return part


def _judge_metadata(part: Part, mail: MailLook, must: Collection[str]) -> None:
    if "METADATA" not in mail.capabilities:
        server_only = " (METADATA-SERVER is, and that is not what core asks for)"
        part.found(
            "metadata.not_advertised",
            LOG_IN,
            "METADATA is not advertised",
            f"CAPABILITY after the log-in has {listed(mail.capabilities, 30)}"
            f"{server_only if 'METADATA-SERVER' in mail.capabilities else ''}.",
        )
        return
    part.exclude("metadata.not_advertised")
    if mail.metadata != "read":
        part.found(
            "metadata.unreadable",
            LOG_IN,
            f"GETMETADATA is {mail.metadata or 'not answered'}",
            f"The answer to GETMETADATA: {mail.metadata_words or 'none'}.",
        )
        return
    part.exclude("metadata.unreadable")
    before = len(part.causes)
    _judge_values(part, mail, must)
    if len(part.causes) == before or all(each.weight is Weight.NOTE for each in part.causes):
        missing = [each for each in ("turn", "irohrelay", "turns") if each not in mail.keys]
        lacks = f" (no {', no '.join(missing)})" if missing else ""
        part.ok(LOG_IN, f"{', '.join(mail.keys) or 'nothing'}{lacks}")


def _judge_values(part: Part, mail: MailLook, must: Collection[str]) -> None:
    for service, key, problem in (
        ("turn", "turn", mail.turn_problem),
        ("relay", "irohrelay", mail.relay_problem),
    ):
        missing, unusable = f"metadata.{service}_missing", f"metadata.{service}_unusable"
        wanted = ("iroh_relay" if service == "relay" else service) in must
        if key not in mail.keys:
            part.found(
                missing,
                LOG_IN,
                f"no value for {key}",
                f"METADATA has {listed(mail.keys) if mail.keys else 'no value at all'}.",
                weight=Weight.SICK if wanted else None,
            )
        elif problem:
            part.found(unusable, LOG_IN, f"the value of {key} cannot be read", f"{problem}.")
            part.exclude(missing)
        else:
            part.exclude(missing, unusable)
    if mail.turns_problem:
        weight = Weight.SICK if "turns" in must else Weight.NOTE
        text = "the value of turns cannot be read"
        part.found("metadata.turn_unusable", LOG_IN, text, f"{mail.turns_problem}.", weight=weight)


def judge_delivery(mail: MailLook | None) -> Part:
    """IDLE wakes, and mail that everybody can read is refused."""
    part = Part()
    if mail is None or not mail.submission:
        return part
    if mail.submission != "accepted":
        part.cannot_tell(MAIL, f"an encrypted mail to oneself was not taken: {mail.submission_words}")
    elif mail.idle_wakes_s is not None:
        part.exclude("mail.idle_is_silent")
    elif mail.idle_found_later:
        part.found(
            "mail.idle_is_silent",
            MAIL,
            "a client that waits is not told of new mail",
            "A mail to oneself was answered with 250; in 2 s of IDLE nothing came, and then SELECT had it.",
        )
    else:
        part.cannot_tell(MAIL, "a mail that was answered with 250 was not in the mailbox 2 s later")
    if mail.unencrypted == "accepted":
        part.found(
            "mail.accepts_unencrypted",
            MAIL,
            "mail that everybody can read is taken",
            f"A plain text mail to another new account was answered: {mail.unencrypted_words}.",
        )
    elif mail.unencrypted == "refused":
        part.exclude("mail.accepts_unencrypted")
    if not part.steps:
        wakes = f"IDLE wakes after {mail.idle_wakes_s:.2f} s"
        readable = "unencrypted mail is refused" if mail.unencrypted else "unencrypted mail was not tried"
        part.ok(MAIL, f"{wakes}; {readable}")
    return part
