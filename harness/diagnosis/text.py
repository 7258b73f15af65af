"""A diagnosis for a person: a line for each step, then each cause with its evidence and what to change."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterator

from ..causes.cause import Weight
from ..text import clean
from .diagnosis import Diagnosis
from .part import NamedCause, Step

__all__ = ["changes", "render"]

WIDTH = 100
TITLE = 32
LABEL = 12
LIGHTER = {Weight.RISK: "risk", Weight.NOTE: "to note"}
HEADINGS = {Weight.SICK: "Cause", Weight.RISK: "Risk", Weight.NOTE: "Note"}


def render(diagnosis: Diagnosis, server: str = "") -> str:
    """Everything, in lines of 100 columns. `server`: words that name it on a command line, if its host does not."""
    look = diagnosis.look
    when = time.strftime("%d %b %Y %H:%M UTC", time.gmtime(look.time))
    at = " ".join(look.name.addresses[:2]) if look.name and look.name.addresses != (look.host,) else ""
    where = f", from {look.network}" if look.network else ""
    lines = [f"{clean(f'{look.host}  {at}'.rstrip()):<60}  {when}, {look.seconds:.1f} s{where}"]
    lines += [line for step in diagnosis.steps for line in _step(step)]
    for each in diagnosis.causes:
        lines += ["", *_cause(each, server or look.host)]
    lines += ["", *_verdict(diagnosis)]
    return "\n".join(lines)


def _step(step: Step) -> Iterator[str]:
    title = clean(step.title, 60)
    head = f"  {step.state:<4}  {title:<{TITLE}}"
    indent = " " * (8 + TITLE)
    if len(title) >= TITLE:
        yield head.rstrip()
        head = indent
    yield from textwrap.wrap(clean(step.text), WIDTH, initial_indent=head, subsequent_indent=indent) or [head]


def _cause(named: NamedCause, server: str) -> Iterator[str]:
    cause = named.cause
    yield from _labelled(HEADINGS[named.weight], f"{cause.sentence} [{cause.name}]")
    for rival in named.rivals:
        yield from _labelled("Or", f"{rival.sentence} [{rival.name}]")
    if named.tell_apart:
        yield from _labelled("Tell apart", named.tell_apart)
    yield from _labelled("Why sure", " ".join(named.evidence) or cause.sure)
    yield from _labelled("Harm", cause.harm)
    for number, change in enumerate(cause.advice()):
        yield from _labelled("" if number else "Change", change)
    for rival in named.rivals:
        for number, change in enumerate(rival.advice()):
            yield from _labelled("" if number else "Or change", change)
    yield from _labelled("Try", f"dc-harness doctor {server}{_part(cause.name)}")


def _part(cause: str) -> str:
    """Option that looks at this alone."""
    return {"turn": " --only turn", "relay": " --only relay"}.get(cause.partition(".")[0], "")


def _labelled(label: str, text: str) -> list[str]:
    return textwrap.wrap(
        clean(text),
        WIDTH,
        initial_indent=f"{label:<{LABEL}}",
        subsequent_indent=" " * LABEL,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _verdict(diagnosis: Diagnosis) -> Iterator[str]:
    look = diagnosis.look
    if diagnosis.is_sick:
        names = ", ".join(each.cause.name for each in diagnosis.of_weight(Weight.SICK))
        yield from _plain(f"SICK: {names}.")
    elif diagnosis.unknown:
        yield from _plain("COULD NOT TELL:")
        for sentence in diagnosis.unknown:
            yield from _plain(f"  {sentence}")
    else:
        lighter = [
            f"{len(found)} {word}"
            for weight, word in LIGHTER.items()
            if (found := diagnosis.of_weight(weight))
        ]
        yield f"HEALTHY, with {' and '.join(lighter)}." if lighter else "HEALTHY: nothing was found wrong."
    if look.accounts_left:
        mails = " and one small mail" if look.mail is not None and look.mail.submission == "accepted" else ""
        yield f"Left on the server: {look.accounts_left} new accounts{mails}, at most."
    if look.packets is not None:
        yield f"Sent: {look.packets} packets."


def _plain(text: str) -> list[str]:
    return textwrap.wrap(clean(text), WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def changes(before: Diagnosis, after: Diagnosis) -> str:
    """What is not as it was at the look before, a line for each; empty if everything is."""
    old, new = ({each.cause.name: each for each in found.causes} for found in (before, after))
    lines = [f"new       {each.cause.sentence} [{name}]" for name, each in new.items() if name not in old]
    lines += [f"healed    {each.cause.sentence} [{name}]" for name, each in old.items() if name not in new]
    lines += [f"unknown   {each}" for each in after.unknown if each not in before.unknown]
    when = time.strftime("%d %b %Y %H:%M UTC", time.gmtime(after.look.time))
    return "\n".join(clean(f"{when}  {line}") for line in lines)
