"""Text that others wrote: programs, servers, files. Cleaned before it becomes part of a sentence for people."""

from __future__ import annotations

__all__ = ["as_sentence", "clean"]

UNSHOWN = "\N{REPLACEMENT CHARACTER}"
ENDS = " ... "
"""Between what is left of a text that was too long, and how much of it is missing."""


def clean(text: str, most: int | None = None) -> str:
    """One line without anything that a terminal, a report or a reader could mistake for something else.

    Line ends, tabs and odd spaces become spaces. Every other character that shows nothing by itself becomes U+FFFD:
    escape, NUL and the rest of C0 and C1, marks that change the direction of text, surrogates, unassigned code points.
    Of more than `most` characters the first are kept, with the number of those that are not.
    """
    shown = text if text.isprintable() else "".join(map(_shown, text))
    if most is None or len(shown) <= most:
        return shown
    return f"{shown[:most]}{ENDS}({len(shown) - most} more characters)"


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() else UNSHOWN


def as_sentence(words: str) -> str:
    """These words with a capital letter and a full stop; names and abbreviations in them stay as they are."""
    return f"{words[:1].upper()}{words[1:]}."
