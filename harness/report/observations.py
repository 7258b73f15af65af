"""Things that checks saw, as small records with units: renderers read these, and parse no label.

Each kind has a name and a version. What a newer version of the harness wrote is understood as far as it goes:
unknown fields are dropped, and an unknown kind becomes `Unrecognised`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

__all__ = ["Measured", "Observation", "Unrecognised", "observation_from_json"]

KINDS: dict[str, type[Observation]] = {}


@dataclass(frozen=True)
class Observation:
    """Base class. A subclass has plain fields, and is known by its `kind`."""

    kind: ClassVar[str] = ""
    version: ClassVar[int] = 1

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        KINDS[cls.kind] = cls

    def to_json(self) -> dict[str, Any]:
        """Plain data, which `observation_from_json` reads."""
        return {"kind": self.kind, "version": self.version, **dataclasses.asdict(self)}

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Observation:
        """From plain fields, all of which are its own. Raises TypeError or ValueError for what is none."""
        return cls(**fields)


@dataclass(frozen=True)
class Measured(Observation):
    """One number or word, such as `turn_ttl` 86400 s."""

    kind: ClassVar[str] = "measured"

    name: str
    value: float | int | str | bool | None
    unit: str = ""


@dataclass(frozen=True)
class Unrecognised(Observation):
    """Something that a newer version saw."""

    kind: ClassVar[str] = "unrecognised"

    of_kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)


def observation_from_json(data: Mapping[str, Any]) -> Observation:
    """The observation behind plain data. Raises ValueError where there is no kind."""
    try:
        kind = str(data["kind"])
    except (KeyError, TypeError) as error:
        raise ValueError("an observation has a kind") from error
    rest = {name: value for name, value in data.items() if name not in ("kind", "version")}
    known = KINDS.get(kind)
    if known is None:
        return Unrecognised(kind, rest)
    names = {each.name for each in dataclasses.fields(known)}
    try:
        return known.read({name: value for name, value in rest.items() if name in names})
    except (TypeError, ValueError, KeyError):
        return Unrecognised(kind, rest)
