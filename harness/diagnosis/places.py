"""Names and ports, as they follow from a look: for the server itself, for TURN and for the iroh relay."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..report.looks import Look, NameLook, PortLook
from .part import Part

__all__ = [
    "judge_dead_addresses",
    "judge_foreign",
    "judge_name",
    "listed",
    "reached_in_words",
    "told_with_the_name",
]

WORDS = {
    "open": "answers",
    "refused": "refuses",
    "silent": "is silent",
    "no route": "cannot be reached from here",
}


def judge_name(look: NameLook, prefix: str, title: str) -> Part:
    """The name of a service leads somewhere, and to its own server only. `prefix`: of the causes."""
    part = Part()
    unknown, silent = (
        ("name.does_not_resolve", "name.dns_silent")
        if prefix == "name"
        else (f"{prefix}.name_does_not_resolve", f"{prefix}.name_silent")
    )
    if look.failure == "unknown":
        part.found(
            unknown,
            title,
            f"{look.name} leads nowhere",
            f"A name server answered within {look.seconds:g} s that {look.name} does not exist, or has no address.",
        )
    elif look.failure:
        how = "says that it cannot tell" if look.failure == "failed" else "did not answer"
        part.found(
            silent,
            title,
            f"nobody says where {look.name} is",
            f"{look.name} was looked up for {look.seconds:g} s: the name server {how}.",
        )
    else:
        part.exclude(unknown, silent)
    return part


def told_with_the_name(look: Look, name: NameLook) -> frozenset[str]:
    """Dead addresses that a service shares with the server, by sharing its name: one record in DNS has to go."""
    assert look.name is not None
    same = name.name.lower().rstrip(".") == look.name.name.lower().rstrip(".")
    return _dead_addresses(look) if same else frozenset()


def judge_foreign(look: NameLook, prefix: str, title: str, own: Sequence[str]) -> Part:
    """Addresses of somebody else."""
    part = Part()
    cause = f"{prefix}.address_foreign"
    if look.foreign:
        of = "" if look.name in look.foreign else f" of {look.name}"
        all_ = (
            "" if len(look.foreign) == look.count else f" ({len(look.foreign)} of {look.count} addresses{of})"
        )
        part.found(
            cause,
            title,
            f"METADATA names {listed(look.foreign)}, which is not this server's{all_}",
            f"{look.name} is at {listed(look.addresses)}; the mail server is at {listed(own)}.",
            "Nothing was sent to an address of somebody else.",
        )
    elif not look.failure:
        part.exclude(cause)
    return part


def _dead_addresses(look: Look) -> frozenset[str]:
    """Addresses of the server at which it answers at no port of mail."""
    alive = {each.address for each in look.ports if each.reached == "open"}
    return frozenset(each.address for each in look.ports) - alive


def judge_dead_addresses(
    ports: Sequence[PortLook], prefix: str, title: str, known: Collection[str] = ()
) -> Part:
    """Of several addresses at least one answers: the others must, too. `known`: to be dead, which has been told."""
    part = Part()
    dead = [each for each in ports if each.reached in ("refused", "silent") and each.address not in known]
    if dead:
        alive = [each.address for each in ports if each.reached == "open"]
        part.found(
            f"{prefix}.address_dead",
            title,
            f"nobody answers at {listed([each.address for each in dead])}",
            *(f"{each.address} {WORDS[each.reached]} at port {each.port}." for each in dead),
            f"{listed(alive)} answers.",
        )
    else:
        part.exclude(f"{prefix}.address_dead")
    for each in ports:
        if each.reached == "no route":
            part.unseen(title, f"{each.address} was not tried: this machine has no way there")
    return part


def reached_in_words(ports: Sequence[PortLook]) -> str:
    """As in `203.0.113.5 refuses, 2001:db8::5 is silent`."""
    return ", ".join(f"{each.address} {WORDS[each.reached]}" for each in ports)


def listed(words: Sequence[str], most: int = 4) -> str:
    """As in `a, b and c`."""
    shown = [*words[:most], *([f"{len(words) - most} more"] if len(words) > most else [])]
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]])) if shown else "nowhere"
