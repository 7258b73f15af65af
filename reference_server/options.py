"""Settings and their command line in one: a dataclass whose fields are the options of a program.

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        idle: float = option("without a byte from the client", default=1800.0, metavar="SECONDS")

is `--idle SECONDS` for `add_options` and `read_options`. The annotation says how a word is read: numbers, paths, words
of an enum, `tuple[T, ...]` for an option that may be repeated, and `bool` for one without a word (`--no-...` where the
default is True); anything else has `read`. With `server="--mail-idle"` the whole server offers it under that name, too.
`options_of` is a field of settings within settings.
"""

from __future__ import annotations

import argparse
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import ConfigurationError

__all__ = [
    "add_options",
    "flag",
    "option",
    "options_of",
    "positive_number",
    "positive_seconds",
    "read_options",
    "stated_options",
]

Settings = TypeVar("Settings")
KEY = "option"
PART = "options"
NOUNS = {int: "a whole number", float: "a number"}


@dataclass(frozen=True)
class Option:
    """One field's words. `read` gets the text and raises `ValueError` with what is expected instead."""

    help: str
    metavar: str | None
    flags: tuple[str, ...]
    """Empty: the field's name with hyphens."""
    server: str | None
    read: Callable[[str], Any] | None
    gather: Callable[[list[Any]], Any] | None
    """Makes one value of those of an option that may be repeated."""


def option(
    help: str,
    *,
    default: Any = MISSING,
    default_factory: Any = MISSING,
    metavar: str | None = None,
    flags: tuple[str, ...] = (),
    server: str | None = None,
    read: Callable[[str], Any] | None = None,
    gather: Callable[[list[Any]], Any] | None = None,
    repr: bool = True,
) -> Any:
    """A field of settings that is an option as well; without a default it has to be given."""
    metadata = {KEY: Option(help, metavar, flags, server, read, gather)}
    if default_factory is not MISSING:
        return field(default_factory=default_factory, metadata=metadata, repr=repr)
    return field(default=default, metadata=metadata, repr=repr)


def options_of(settings: type) -> Any:
    """A field that holds settings of its own, whose options are those of the whole as well."""
    return field(default_factory=settings, metadata={PART: settings})


def add_options(parser: argparse.ArgumentParser, settings: type, *, of_server: bool = False) -> None:
    """Add the options of a settings class, or only those that the whole server offers, under their names there."""
    for _name, part in _parts(settings):
        add_options(parser, part, of_server=of_server)
    hints = get_type_hints(settings)
    for each, known in _options(settings, of_server=of_server):
        kind = _kind(hints[each.name])
        words: dict[str, Any] = {"dest": _place(settings, each.name), "default": argparse.SUPPRESS}
        if kind is bool:
            words["action"] = argparse.BooleanOptionalAction if each.default is True else "store_true"
        else:
            words["metavar"] = known.metavar or _choices(kind) or kind.__name__.upper()
            if known.gather or get_origin(hints[each.name]) is tuple:
                words["action"] = "append"
        if each.default is MISSING and each.default_factory is MISSING and not of_server:
            words["required"] = True
        parser.add_argument(
            *_flags(each, known, of_server=of_server),
            help=known.help,
            **words,
        )


def read_options(settings: type[Settings], namespace: argparse.Namespace) -> Settings:
    """The settings that a command line makes. Raises `ConfigurationError` for a word that cannot be read."""
    return settings(**stated_options(settings, namespace))


def stated_options(
    settings: type, namespace: argparse.Namespace, *, of_server: bool = False
) -> Mapping[str, Any]:
    """The values of those options that were given, by field. Raises `ConfigurationError`."""
    hints = get_type_hints(settings)
    values: dict[str, Any] = {}
    for each, known in _options(settings, of_server=of_server):
        if not hasattr(namespace, _place(settings, each.name)):
            continue
        given = getattr(namespace, _place(settings, each.name))
        name = _flags(each, known, of_server=of_server)[-1]
        kind = _kind(hints[each.name])
        if isinstance(given, list):
            read = [_read(name, known, kind, text) for text in given]
            values[each.name] = (known.gather or tuple)(read)
        else:
            values[each.name] = given if kind is bool else _read(name, known, kind, given)
    for name, part in _parts(settings):
        if stated := stated_options(part, namespace, of_server=of_server):
            values[name] = part(**stated)
    return values


def positive_number(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or int(text) == 0:
        raise ValueError("a whole number above 0")
    return int(text)


def positive_seconds(text: str) -> float:
    """More than 0, and not for ever."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < float("inf"):
        raise ValueError("a number of seconds above 0")
    return seconds


def _options(settings: type, *, of_server: bool) -> Iterator[tuple[Field[Any], Option]]:
    for each in fields(settings):
        known = each.metadata.get(KEY)
        if known is not None and (known.server is not None or not of_server):
            yield each, known


def _parts(settings: type) -> Iterator[tuple[str, type]]:
    """Fields that hold settings of their own."""
    for each in fields(settings):
        if (part := each.metadata.get(PART)) is not None:
            yield each.name, part


def _place(settings: type, name: str) -> str:
    """The attribute of a namespace; several settings classes share one."""
    return f"{settings.__name__}.{name}"


def flag(name: str) -> str:
    """The option of a field that names none itself."""
    return f"--{name.replace('_', '-')}"


def _flags(each: Field[Any], known: Option, *, of_server: bool) -> tuple[str, ...]:
    if of_server and known.server is not None:
        return (known.server,)
    return known.flags or (flag(each.name),)


def _kind(hint: Any) -> Any:
    """The type of one word: X of `X | None` and of `tuple[X, ...]`."""
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(each for each in get_args(hint) if each is not type(None))
    if get_origin(hint) is tuple and get_args(hint)[-1] is Ellipsis:
        return get_args(hint)[0]
    return get_origin(hint) or hint


def _choices(kind: Any) -> str | None:
    return "{" + ",".join(kind) + "}" if isinstance(kind, type) and issubclass(kind, StrEnum) else None


def _read(name: str, known: Option, kind: Any, text: str) -> Any:
    try:
        if known.read is not None:
            return known.read(text)
        if kind in (str, Path, int, float):
            return kind(text)
    except ValueError as error:
        expected = NOUNS.get(kind) if known.read is None else str(error)
        raise ConfigurationError(f"{name} {text}: expected {expected}") from None
    if text not in list(kind):
        raise ConfigurationError(f"{name} {text}: expected {' or '.join(kind)}")
    return kind(text)
