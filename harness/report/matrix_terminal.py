"""A matrix at a terminal, in lines of 80 columns: pure functions of records."""

from __future__ import annotations

from collections.abc import Sequence

from ..text import clean
from .cells import CellOf
from .interop import Interop, Place, State
from .records import Record, Verdict
from .tables import wrapped

__all__ = ["render_cell", "render_matrix_end"]

INDENT = " " * 12


def render_cell(cell: CellOf, record: Record, ended: int, of: int, seconds: float) -> str:
    """One cell that ended, and how far the matrix is."""
    clock = f"{int(seconds) // 60}:{int(seconds) % 60:02}"
    lines = [
        wrapped(
            f"{ended}/{of} {clock} {record.verdict:11} {clean(cell.name)} {record.duration:.1f} s",
            indent=INDENT,
        )
    ]
    if record.verdict not in (Verdict.PASSED, Verdict.UNSUPPORTED) and record.reason:
        lines.append(wrapped(record.reason, first=INDENT))
    return "\n".join(lines)


def render_matrix_end(found: Interop, interrupted: str = "", problems: Sequence[str] = ()) -> str:
    """What is wrong, each reason once, the controls that are wrong, and the decision last."""
    parts = (
        ["\n".join(["COULD NOT BE READ", *(wrapped(each, first="- ") for each in problems)])]
        if problems
        else []
    )
    for state, reasons in found.reasons.items():
        lines = [line for why, places in reasons.items() for line in _told(why, places)]
        parts.append("\n".join([state.upper(), *lines]))
    wrong = [each for each in found.controls if each.state is not State.PASSED]
    if wrong:
        lines = [line for each in wrong for line in _told(each.why, [each])]
        parts.append("\n".join(["CONTROLS THAT ARE NOT AS THEY MUST BE", *lines]))
    sentence = f"interrupted ({interrupted}): {found.sentence}" if interrupted else found.sentence
    return "\n\n".join([*parts, wrapped(f"{found.decision}: {sentence}.")])


def _told(why: str, places: Sequence[Place]) -> list[str]:
    names = [each.cell.name for each in places]
    shown = "; ".join(names[:3]) + (f"; and {len(names) - 3} more" if len(names) > 3 else "")
    return [wrapped(shown, first="- "), wrapped(why, first="    ")]
