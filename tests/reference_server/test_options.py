"""Settings as a command line: what is declared once is read, offered, refused and left at its default."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pytest

from reference_server.errors import ConfigurationError
from reference_server.options import (
    add_options,
    option,
    options_of,
    positive_number,
    positive_seconds,
    read_options,
    stated_options,
)


class Taste(StrEnum):
    SWEET = "sweet"
    SOUR = "sour"


@dataclass(frozen=True)
class Spoon:
    sugars: int = option("spoons of sugar", default=1, read=positive_number, server="--tea-sugars")
    stirs: int = option("times it is stirred", default=3)


@dataclass(frozen=True, kw_only=True)
class Tea:
    leaf: str = option("leaf that is brewed")
    cups: int = option("how many", default=1, server="--tea-cups")
    taste: Taste = option("of the tea", default=Taste.SWEET)
    minutes: float | None = option("until it is ready", default=None, read=positive_seconds)
    shelves: tuple[Path, ...] = option("where to look", default=(), flags=("-s", "--shelf"))
    milk: bool = option("with milk", default=False, server="--milk")
    sugar: bool = option("with sugar", default=True)
    pot: str = "blue"
    spoon: Spoon = options_of(Spoon)


@dataclass(frozen=True, kw_only=True)
class Coffee:
    cups: int = option("how many", default=2)


def parsed(*words, of_server=False):
    parser = argparse.ArgumentParser()
    add_options(parser, Tea, of_server=of_server)
    if of_server:
        add_options(parser, Coffee)
    return parser.parse_args(words)


def test_defaults_are_those_of_the_fields():
    assert read_options(Tea, parsed("--leaf", "assam")) == Tea(leaf="assam")


def test_words_become_values_of_the_annotated_types():
    words = ["--leaf", "assam", "--cups", "3", "--taste", "sour", "--minutes", "4.5", "--milk", "--no-sugar"]
    tea = read_options(Tea, parsed(*words, "-s", "/one", "--shelf", "/two"))
    shelves = (Path("/one"), Path("/two"))
    assert tea == Tea(
        leaf="assam", cups=3, taste=Taste.SOUR, minutes=4.5, shelves=shelves, milk=True, sugar=False
    )


def test_the_whole_server_offers_some_under_their_names_there():
    """And only what was said: the rest is for the files, or the defaults."""
    namespace = parsed("--tea-cups", "5", "--cups", "7", of_server=True)
    assert stated_options(Tea, namespace, of_server=True) == {"cups": 5}
    assert read_options(Coffee, namespace) == Coffee(cups=7)


def test_settings_within_settings_are_options_of_the_whole():
    tea = read_options(Tea, parsed("--leaf", "assam", "--sugars", "2"))
    assert tea.spoon == Spoon(sugars=2, stirs=3)
    of_server = parsed("--tea-sugars", "4", of_server=True)
    assert stated_options(Tea, of_server, of_server=True) == {"spoon": Spoon(sugars=4)}


@pytest.mark.parametrize("words", [[], ["--leaf", "assam", "--pot", "red"]])
def test_an_option_that_is_missing_or_unknown_ends_the_program(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        parsed(*words)
    assert "usage" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--cups", "many"], "--cups many: expected a whole number"),
        (["--taste", "bitter"], "--taste bitter: expected sweet or sour"),
        (["--minutes", "0"], "--minutes 0: expected a number of seconds above 0"),
        (["--minutes", "inf"], "--minutes inf: expected a number of seconds above 0"),
        (["--sugars", "0"], "--sugars 0: expected a whole number above 0"),
        (["--sugars", "-1"], "--sugars -1: expected a whole number above 0"),
        (["--minutes", "soon"], "--minutes soon: expected a number of seconds above 0"),
    ],
)
def test_a_word_that_cannot_be_read_is_one_sentence(words, sentence):
    with pytest.raises(ConfigurationError) as refused:
        read_options(Tea, parsed("--leaf", "assam", *words))
    assert str(refused.value) == sentence
