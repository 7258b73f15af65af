"""Snippets and `import`, as maddy and madmail 1 have them.

    (of_accounts) {
        auth &local_authdb
    }
    imap tls://0.0.0.0:993 {
        import of_accounts              the directives of a snippet
        import turn.conf                those of a file, found beside this one
    }

madmail 2 passes over `import` wherever it stands, so each is a warning, and so is one of nothing that there is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from .findings import Finding, Place, warning
from .maddy_syntax import MAX_FILE, Directive, failure, is_snippet, parse

__all__ = ["with_imports"]

MAX_DEPTH = 16
"""Imports within imports."""
MAX_IMPORTED = 10_000
"""Directives that imports bring."""


def with_imports(directives: Sequence[Directive], findings: list[Finding]) -> tuple[Directive, ...]:
    """The directives of a file with all that it imports in its place, and without its snippets.

    Raises `ConfigurationError` where a file that is imported is not in maddy's language, or where it does not end.
    """
    return tuple(_Imports(findings).resolved(directives, 0, is_top=True))


class _Imports:
    """The snippets that are known so far, and how much was imported."""

    def __init__(self, findings: list[Finding]) -> None:
        self._findings = findings
        self._snippets: dict[str, tuple[Directive, ...]] = {}
        self._imported = 0

    def resolved(self, directives: Sequence[Directive], depth: int, *, is_top: bool) -> Iterator[Directive]:
        if is_top:
            self._snippets |= {each.name[1:-1]: each.block or () for each in directives if is_snippet(each)}
        for directive in directives:
            if is_snippet(directive):
                if not is_top or directive.arguments or directive.block is None:
                    self._pass_over(directive, f"{directive.name} is no snippet: (name) {{ ... }} at the top")
            elif directive.name == "import":
                yield from self._brought_by(directive, depth, is_top=is_top)
            elif directive.block is not None:
                block = tuple(self.resolved(directive.block, depth, is_top=False))
                yield replace(directive, block=block)
            else:
                yield directive

    def _brought_by(self, directive: Directive, depth: int, *, is_top: bool) -> Iterator[Directive]:
        place = directive.place
        if len(directive.arguments) != 1 or directive.block is not None:
            self._pass_over(directive, "import: expected the name of a snippet or of a file")
            return
        if depth >= MAX_DEPTH:
            raise failure(place, f"imports within imports are more than {MAX_DEPTH} deep")
        [name] = directive.arguments
        brought = self._snippets.get(name)
        if brought is None:
            brought = self._file(name, place)
        if brought is None:
            self._pass_over(directive, f"import: there is no snippet and no file {name!r}")
            return
        self._imported += len(brought)
        if self._imported > MAX_IMPORTED:
            raise failure(place, f"imports bring more than {MAX_IMPORTED} directives")
        self._findings.append(
            warning(place, "import is read as in maddy and madmail 1; madmail 2 passes over it")
        )
        yield from self.resolved(brought, depth + 1, is_top=is_top)

    def _file(self, name: str, place: Place) -> tuple[Directive, ...] | None:
        """The directives of a file of this name, or of this name with `.conf`; None without one."""
        beside = Path(place.file).parent
        for path in (beside / name, beside / f"{name}.conf"):
            try:
                if not path.is_file():
                    continue
                with path.open("rb") as file:
                    raw = file.read(4 * MAX_FILE + 1)
                return parse(raw.decode(), str(path), self._findings)
            except (OSError, ValueError):  # text that is not UTF-8, or a name that no file can have
                raise failure(place, f"import: {name!r} cannot be read as text in UTF-8") from None
        return None

    def _pass_over(self, directive: Directive, sentence: str) -> None:
        self._findings.append(warning(directive.place, f"{sentence}; passed over"))
