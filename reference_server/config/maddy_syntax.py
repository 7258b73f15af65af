"""The language of maddy.conf: directives with arguments, blocks, quoted strings, comments and macros.

    $(public_ip) = 203.0.113.5            a macro: one or more words, usable in every later argument
    endpoint.imap imap {                  a directive with the argument `imap` and a block
        iroh_relay_url http://$(public_ip):3340
        tls { cert a.pem                  a block ends where its brace does
              key b.pem }
        log stderr \\                      a backslash at the end of a line continues it
            syslog  # a comment
    }

As in maddy, quotes only keep spaces together, and macros are expanded inside them, too. What madmail 2 takes without a
word is a warning: a quoted string over several lines or without an end, a block without one, a macro that is not
defined. `{env:NAME}` is a variable of the environment, and nothing where there is none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedInput, UnexpectedToken

from ..errors import ConfigurationError
from .findings import Finding, Place, error, warning

__all__ = ["MAX_FILE", "Directive", "expand", "failure", "is_snippet", "parse"]

GRAMMAR = r"""
start: _NEWLINE? (directive _NEWLINE)* directive?
directive: WORD (WORD | STRING)* block?
block: "{" _NEWLINE? (directive _NEWLINE)* directive? "}"

STRING: /"(?:[^"\\]|\\[\s\S])*(?:"|\\?\Z)/
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
NAME = re.compile(r"[^0-9][A-Za-z0-9._-]*")
SNIPPET = re.compile(r"\([^()\s]*\)")
ESCAPED = re.compile(r"\\([\s\S])")
MACRO = re.compile(r"\$\(([^()\s]*)\)")
VARIABLE = re.compile(r"\{env:([^{}\s]*)\}")

MAX_FILE = 256 * 1024
"""Characters of a file."""
MAX_NESTING = 256
"""As in madmail."""
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


def parse(text: str, file: str, findings: list[Finding]) -> tuple[Directive, ...]:
    """The directives of a file, macros as they stand.

    Raises `ConfigurationError` with file, line and what is expected.
    """
    if len(text) > MAX_FILE:
        raise failure(Place(file, 1), f"the file has more than {MAX_FILE} characters")
    # The last line may lack its end. Only \n ends a line, so that line numbers are those of an editor.
    text = text.removeprefix("\ufeff").replace("\r\n", "\n") + "\n"

    def close_block(unexpected: UnexpectedInput) -> bool:
        """At the end of the file every block is closed, as in madmail."""
        if not isinstance(unexpected, UnexpectedToken) or unexpected.token.type != "$END":
            return False
        parser = cast(Any, unexpected.interactive_parser)
        opened = [
            token for token in parser.parser_state.value_stack if getattr(token, "type", "") == "LBRACE"
        ]
        for token in opened:
            parser.feed_token(Token("RBRACE", "}"))
            sentence = "this block has no '}': it goes on to the end of the file"
            findings.append(warning(Place(file, token.line), sentence))
        return bool(opened)

    try:
        parsed = cast(list[Any], _parser().parse(text, on_error=close_block))  # what our own builder makes
    except UnexpectedInput as unexpected:
        raise failure(Place(file, _line(unexpected, text)), _explain(unexpected)) from None
    return tuple(_directives(parsed, file, 0, findings))


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


def is_snippet(directive: Directive) -> bool:
    """`(name) { ... }`: directives that `import name` brings elsewhere."""
    return SNIPPET.fullmatch(directive.name) is not None


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


def _directives(
    parsed: Sequence[list[Any]], file: str, depth: int, findings: list[Finding]
) -> Iterator[Directive]:
    for name, *rest in parsed:
        place = Place(file, name.line)
        if depth > MAX_NESTING:
            raise failure(place, f"blocks are nested more than {MAX_NESTING} deep")
        if not (name.startswith("$(") or SNIPPET.fullmatch(name) or NAME.fullmatch(name)):
            expected = "the name of a directive of maddy.conf: letters, digits, '.', '-' and '_'"
            # What stands behind `=` may be a secret, in a file of another kind.
            raise failure(place, f"expected {expected}, found {str(name).partition('=')[0]!r}")
        block = rest.pop() if rest and isinstance(rest[-1], tuple) else None
        yield Directive(
            str(name),
            tuple(_text(token, file, findings) for token in rest),
            None if block is None else tuple(_directives(block, file, depth + 1, findings)),
            place,
        )


def _text(token: Token, file: str, findings: list[Finding]) -> str:
    if token.type != "STRING":
        return str(token)
    place, inner = Place(file, token.line or 1), ESCAPED.sub("", token[1:])
    if not inner.endswith('"'):
        sentence = "the quoted string does not end: all that follows in the file is in it"
        findings.append(warning(place, sentence))
        return _unescaped(token[1:].removesuffix("\n"))
    if "\n" in token:
        sentence = f"the quoted string ends in line {place.line + token.count(chr(10))}"
        findings.append(warning(place, sentence))
    return _unescaped(token[1:-1])


def _unescaped(text: str) -> str:
    """Of all that a backslash may stand before, only the quote loses it."""
    return ESCAPED.sub(lambda found: '"' if found[1] == '"' else found[0], text)


def _explain(unexpected: UnexpectedInput) -> str:
    """A sentence that quotes nothing: the line may hold a secret."""
    assert isinstance(unexpected, UnexpectedToken)  # every character starts a token
    found = EXPECTED.get(unexpected.token.type, "something else")
    wanted = " or ".join(sorted(EXPECTED[name] for name in unexpected.accepts or unexpected.expected))
    return f"expected {wanted}, found {found}"


def _line(unexpected: UnexpectedInput, text: str) -> int:
    at_end = isinstance(unexpected, UnexpectedToken) and unexpected.token.type == "$END"
    return text.rstrip().count("\n") + 1 if at_end else unexpected.line


def failure(place: Place, sentence: str) -> ConfigurationError:
    """What ends the reading."""
    return ConfigurationError(str(error(place, sentence)))


def _definition(directive: Directive) -> tuple[str, tuple[str, ...]]:
    name = MACRO.fullmatch(directive.name)
    equals, *values = directive.arguments or ("",)
    if name is None or equals != "=" or not values or directive.block is not None:
        raise failure(directive.place, "expected the definition of a macro: $(name) = one or more words")
    return name[1], tuple(values)


def _expand(
    directive: Directive, macros: Mapping[str, tuple[str, ...]], findings: list[Finding]
) -> Directive:
    if directive.name.startswith("$("):
        raise failure(directive.place, "macros are defined outside of every block only")
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
    """A word that is nothing but a macro becomes all its values, and goes where it is not defined; inside a word it
    has to have one value, and stays as it stands where it has none."""
    result: list[str] = []
    for word in words:
        whole = MACRO.fullmatch(word)
        if whole:
            result += macros.get(whole[1], ())
            if whole[1] not in macros:
                sentence = f"the macro $({whole[1]}) is not defined: it stands for nothing here"
                findings.append(warning(place, sentence))
        else:
            result.append(_word(word, place, macros, findings))
        if len(result) > MAX_ARGUMENTS:
            raise failure(place, f"more than {MAX_ARGUMENTS} arguments")
    return tuple(result)


def _word(word: str, place: Place, macros: Mapping[str, tuple[str, ...]], findings: list[Finding]) -> str:
    parts, end, size = [], 0, len(word)
    for use in MACRO.finditer(word):
        values = macros.get(use[1])
        if values is None:
            findings.append(warning(place, f"the macro $({use[1]}) is not defined: the word stays as it is"))
        elif len(values) > 1:
            findings.append(
                error(place, f"the macro $({use[1]}) has {len(values)} values; one word takes one")
            )
        value = use[0] if values is None else "".join(values[:1])
        parts += [word[end : use.start()], value]
        end = use.end()
        size += len(value)
        if size > MAX_ARGUMENT:
            break
    if size > MAX_ARGUMENT:
        raise failure(place, f"a word has more than {MAX_ARGUMENT} characters")
    return VARIABLE.sub(lambda found: _variable(found[1], place, findings), "".join(parts) + word[end:])


def _variable(name: str, place: Place, findings: list[Finding]) -> str:
    value = os.environ.get(name)
    if value is None:
        findings.append(warning(place, f"the environment has no variable {name}: it stands for nothing here"))
    return value or ""
