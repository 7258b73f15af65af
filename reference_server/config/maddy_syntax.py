"""The language of maddy.conf: directives with arguments, blocks, quoted strings, comments and macros.

    $(public_ip) = 203.0.113.5            a macro: one or more words, usable in every later argument
    endpoint.imap imap {                  a directive with the argument `imap` and a block
        iroh_relay_url http://$(public_ip):3340
        tls { cert a.pem                  a block ends where its brace does
              key b.pem }
        log stderr \\                      a backslash at the end of a line continues it
            syslog  # a comment
    }

As in maddy, quotes only keep spaces together, and macros are expanded inside them, too. Unlike in maddy a quoted
string ends on its line and an undefined macro is an error; snippets and `import` are not read. `{env:NAME}` is a
variable of the environment, and nothing where there is none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from ..errors import ConfigurationError
from .findings import Finding, Place, error, warning

__all__ = ["Directive", "expand", "parse"]

GRAMMAR = r"""
start: _NEWLINE? (directive _NEWLINE)*
directive: WORD (WORD | STRING)* block?
block: "{" _NEWLINE? (directive _NEWLINE)* directive? "}"

STRING: /"(?:[^"\\\n]|[\\]["]|[\\](?!["]))*"/
WORD: /(?![{}](?:\s|$))[^\s"#][^\s#]*/
_NEWLINE.2: /(?:(?:#[^\n]*)?\n[^\S\n]*)+/
CONTINUATION.3: /\\[^\S\n]*(?:#[^\n]*)?\n/
SPACE: /[^\S\n]+/
%ignore SPACE
%ignore CONTINUATION
"""
EXPECTED = {
    "WORD": "a word",
    "STRING": "a quoted string",
    "_NEWLINE": "the end of the line",
    "LBRACE": "'{'",
    "RBRACE": "'}'",
    "$END": "the end of the file",
}
NAME = re.compile(r"[^\W\d][\w.-]*")
MACRO = re.compile(r"\$\(([^()\s]*)\)")
VARIABLE = re.compile(r"\{env:([^{}\s]*)\}")

MAX_FILE = 256 * 1024
"""Characters of a file."""
MAX_NESTING = 32
MAX_ARGUMENTS = 1000
MAX_ARGUMENT = 8192
"""Words of a directive and characters of a word, after the expansion of macros."""


@dataclass(frozen=True)
class Directive:
    """One directive; `block` is None without braces, and empty with nothing in them."""

    name: str
    arguments: tuple[str, ...]
    block: tuple[Directive, ...] | None
    place: Place


def parse(text: str, file: str) -> tuple[Directive, ...]:
    """The directives of a file, macros as they stand.

    Raises `ConfigurationError` with file, line and what is expected.
    """
    if len(text) > MAX_FILE:
        raise _failure(file, 1, f"the file has more than {MAX_FILE} characters")
    # The last line may lack its end. Only \n ends a line, so that line numbers are those of an editor.
    text = text.removeprefix("\ufeff").replace("\r\n", "\n") + "\n"
    try:
        parsed = cast(list[Any], _parser().parse(text))  # lark returns what our own builder makes
    except UnexpectedInput as unexpected:
        raise _failure(file, *_explain(unexpected, text)) from None
    return tuple(_directives(parsed, file, 0))


def expand(
    directives: Sequence[Directive], given: Mapping[str, str], findings: list[Finding]
) -> tuple[tuple[Directive, ...], Mapping[str, tuple[str, ...]]]:
    """Replace macros by their values; returns the directives without the definitions, and all macros.

    `given` stand before definitions of the same names in the file. What is undefined becomes a finding.
    """
    macros: dict[str, tuple[str, ...]] = {name: (value,) for name, value in given.items()}
    kept = []
    for directive in directives:
        if not directive.name.startswith("$("):
            kept.append(_expand(directive, macros, findings))
            continue
        name, values = _definition(directive)
        values = _arguments(values, directive.place, macros, findings)
        if name not in given:
            macros[name] = values  # the last definition stands, for what comes after it
    return tuple(kept), macros


@cache
def _parser() -> Lark:
    return Lark(GRAMMAR, parser="lalr", transformer=_Builder())


class _Builder(Transformer[Token, Any]):
    """Runs while lark parses, so deep nesting costs no stack."""

    def start(self, children: list[Any]) -> list[Any]:
        return children

    directive = start

    def block(self, children: list[Any]) -> tuple[Any, ...]:
        return tuple(children)


def _directives(parsed: Sequence[list[Any]], file: str, depth: int) -> Iterator[Directive]:
    for name, *rest in parsed:
        place = Place(file, name.line)
        if depth > MAX_NESTING:
            raise _failure(file, name.line, f"blocks are nested more than {MAX_NESTING} deep")
        if not name.startswith("$(") and not NAME.fullmatch(name):
            raise _failure(
                file, name.line, "expected the name of a directive: letters, digits, '.', '-' and '_'"
            )
        block = rest.pop() if rest and isinstance(rest[-1], tuple) else None
        yield Directive(
            str(name),
            tuple(_text(token) for token in rest),
            None if block is None else tuple(_directives(block, file, depth + 1)),
            place,
        )


def _text(token: Token) -> str:
    return token[1:-1].replace('\\"', '"') if token.type == "STRING" else str(token)


def _explain(unexpected: UnexpectedInput, text: str) -> tuple[int, str]:
    """Line, and a sentence that quotes nothing: the line may hold a secret."""
    if isinstance(unexpected, UnexpectedCharacters):
        # Every character starts a token, except the quote of a string without an end.
        return unexpected.line, "the quoted string does not end on its line; expected '\"'"
    assert isinstance(unexpected, UnexpectedToken)
    found = EXPECTED.get(unexpected.token.type, "something else")
    wanted = " or ".join(sorted(EXPECTED[name] for name in unexpected.accepts or unexpected.expected))
    line = text.rstrip().count("\n") + 1 if unexpected.token.type == "$END" else unexpected.line
    return line, f"expected {wanted}, found {found}"


def _failure(file: str, line: int, sentence: str) -> ConfigurationError:
    return ConfigurationError(str(error(Place(file, line), sentence)))


def _definition(directive: Directive) -> tuple[str, tuple[str, ...]]:
    name = MACRO.fullmatch(directive.name)
    equals, *values = directive.arguments or ("",)
    if name is None or equals != "=" or not values or directive.block is not None:
        raise _failure(
            directive.place.file,
            directive.place.line,
            "expected the definition of a macro: $(name) = one or more words",
        )
    return name[1], tuple(values)


def _expand(
    directive: Directive, macros: Mapping[str, tuple[str, ...]], findings: list[Finding]
) -> Directive:
    if directive.name.startswith("$("):
        place = directive.place
        raise _failure(place.file, place.line, "macros are defined outside of every block only")
    return Directive(
        directive.name,
        _arguments(directive.arguments, directive.place, macros, findings),
        None
        if directive.block is None
        else tuple(_expand(each, macros, findings) for each in directive.block),
        directive.place,
    )


def _arguments(
    words: Sequence[str], place: Place, macros: Mapping[str, tuple[str, ...]], findings: list[Finding]
) -> tuple[str, ...]:
    """A word that is nothing but a macro becomes all its values; inside a word it has to have one."""
    result: list[str] = []
    for word in words:
        whole = MACRO.fullmatch(word)
        if whole and whole[1] in macros:
            result += macros[whole[1]]
        else:
            result.append(_word(word, place, macros, findings))
        if len(result) > MAX_ARGUMENTS:
            raise _failure(place.file, place.line, f"more than {MAX_ARGUMENTS} arguments")
    return tuple(result)


def _word(word: str, place: Place, macros: Mapping[str, tuple[str, ...]], findings: list[Finding]) -> str:
    parts, end, size = [], 0, len(word)
    for use in MACRO.finditer(word):
        values = macros.get(use[1])
        if values is None:
            findings.append(error(place, f"the macro $({use[1]}) is not defined"))
        elif len(values) > 1:
            findings.append(
                error(place, f"the macro $({use[1]}) has {len(values)} values; one word takes one")
            )
        value = values[0] if values else ""
        parts += [word[end : use.start()], value]
        end = use.end()
        size += len(value)
        if size > MAX_ARGUMENT:
            break
    if size > MAX_ARGUMENT:
        raise _failure(place.file, place.line, f"a word has more than {MAX_ARGUMENT} characters")
    return VARIABLE.sub(lambda found: _variable(found[1], place, findings), "".join(parts) + word[end:])


def _variable(name: str, place: Place, findings: list[Finding]) -> str:
    value = os.environ.get(name)
    if value is None:
        findings.append(warning(place, f"the environment has no variable {name}: it stands for nothing here"))
    return value or ""
