"""Dataclasses to plain data and back by msgspec, which is loaded when it is needed: `dc-harness list` needs it not."""

from __future__ import annotations

from typing import Any, TypeAlias, TypeVar

__all__ = ["Json", "decoded", "encoded", "parsed"]

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Kind = TypeVar("Kind")


def encoded(value: object) -> dict[str, Json]:
    """The fields of a dataclass."""
    import msgspec  # noqa: PLC0415

    found: dict[str, Json] = msgspec.to_builtins(value)
    return found


def decoded(data: Any, kind: type[Kind]) -> Kind:
    """Raises ValueError that names the field which is not as it has to be."""
    import msgspec  # noqa: PLC0415

    return msgspec.convert(data, kind)


def parsed(line: str | bytes) -> dict[str, Json]:
    """An object in JSON. Raises ValueError for anything else."""
    import msgspec  # noqa: PLC0415

    try:
        found: dict[str, Json] = msgspec.json.decode(line, type=dict)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return found
