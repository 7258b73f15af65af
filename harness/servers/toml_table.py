"""Strict reading of a TOML file: each key once, with its type, and no key that nobody asks for."""

from __future__ import annotations

import datetime
import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["TomlTable", "read_toml"]

T = TypeVar("T", str, int, float, bool, list[str], datetime.date)

POSITION = re.compile(r"(?P<what>.*) \(at line (?P<line>\d+), column (?P<column>\d+)\)", re.DOTALL)
TYPES: dict[type, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    datetime.date: "a date such as 2026-12-31",
}


def read_toml(file: Path) -> TomlTable:
    """The whole file as a table. Raises `ValueError` with a sentence that names file and line."""
    try:
        return TomlTable(str(file), "", tomllib.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is no text in UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        found = POSITION.fullmatch(str(error))
        where = f"{file}:{found['line']}:{found['column']}: {found['what']}" if found else f"{file}: {error}"
        raise ValueError(where) from error
    except RecursionError:
        raise ValueError(f"{file}: arrays or inline tables are nested too deep") from None
    except ValueError:  # tomllib leaves it to Python, which converts 4300 digits
        raise ValueError(f"{file}: a number has too many digits") from None


class TomlTable:
    """A table of which keys are taken; every complaint is a `ValueError` that names file and key."""

    def __init__(self, file: str, path: str, data: Mapping[str, Any]) -> None:
        """`path`: names of the tables around it, with a dot behind each."""
        self._file = file
        self._path = path
        self._data = dict(data)
        self._known: list[str] = []

    def take(self, key: str, kind: type[T], default: T | None = None) -> T:
        """The value of a key. Without a default the key must be there."""
        self._known.append(key)
        if key not in self._data:
            if default is None:
                raise ValueError(f"{self._file}: {self._path}{key} is missing")
            return default
        value = self._data.pop(key)
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise self.wrong(key, f"must be {TYPES[kind]}")
        return value

    def take_words(self, key: str, default: list[str] | None = None) -> list[str]:
        """A list of texts."""
        self._known.append(key)
        if key not in self._data and default is not None:
            return default
        value = self._data.pop(key, None)
        if value is None:
            raise ValueError(f"{self._file}: {self._path}{key} is missing")
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise self.wrong(key, "must be a list of texts")
        return value

    def take_table(self, key: str) -> TomlTable:
        """A table, which is empty where it is not there."""
        self._known.append(key)
        value = self._data.pop(key, {})
        if not isinstance(value, dict):
            raise self.wrong(key, "must be a table")
        return TomlTable(self._file, f"{self._path}{key}.", value)

    def take_tables(self, key: str) -> list[TomlTable]:
        """A list of tables, as `[[key]]` makes it; empty where it is not there."""
        self._known.append(key)
        value = self._data.pop(key, [])
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise self.wrong(key, f"must be a list of tables: [[{self._path}{key}]]")
        return [
            TomlTable(self._file, f"{self._path}{key}, number {number}, ", each)
            for number, each in enumerate(value, start=1)
        ]

    def kind_of(self, key: str) -> type:
        """Type of a value that may have several."""
        return type(self._data.get(key))

    def __iter__(self) -> Iterator[str]:
        """Keys that nobody has taken yet."""
        return iter(list(self._data))

    def __contains__(self, key: str) -> bool:
        return key in self._data

    def wrong(self, key: str, sentence: str) -> ValueError:
        """An error about a key: `FILE: TABLE.KEY must be a text`."""
        return ValueError(f"{self._file}: {self._path}{key} {sentence}")

    def end(self) -> None:
        """Raise `ValueError` for a key that nobody took."""
        for key in self._data:
            near = difflib.get_close_matches(key, self._known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(self._known)}"
            raise self.wrong(key, f"is no known key; {hint}")
