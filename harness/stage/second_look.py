"""A look at a server of somebody else when a check failed and does not know why: the doctor's cause is the check's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..hosts import Host
from ..target import Target

if TYPE_CHECKING:
    from ..diagnosis.diagnosis import Diagnosis

__all__ = ["SecondLook"]


class SecondLook:
    """Asked for at most once in a session: it has two accounts, and sends as much as the doctor may."""

    def __init__(self) -> None:
        self._found: Diagnosis | None = None

    def cause_of(self, check: str, target: Target, host: Host) -> str:
        """Name of what is wrong with the server and explains this check; empty: nothing does, or two things could."""
        from ..diagnosis.diagnosis import diagnose  # noqa: PLC0415 - slow to load, and rarely needed
        from ..look.look import look_at  # noqa: PLC0415

        if self._found is None:
            self._found = diagnose(look_at(target, host))
        explaining = [each for each in self._found.causes if each.cause.accounts_for(check)]
        if len(explaining) != 1 or explaining[0].rivals:
            return ""
        return explaining[0].cause.name
