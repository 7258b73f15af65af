"""Programs of others as an operator has changed them: another line in their configuration, another clock."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path

from harness.network.namespace import program

__all__ = ["Changes"]

SCRIPT = """\
#!/bin/sh
# Changes the configuration file that is named behind -c, --config or --config-path, and then starts the program.
for word; do
    case "$before" in -c|--config|--config-path) {edit};; esac
    before=$word
done
export FAKETIME_DONT_FAKE_MONOTONIC=1
exec {command} "$@"
"""


@dataclass
class Changes:
    """What was changed about one program before it starts."""

    edits: list[str] = field(default_factory=list)
    """Commands of sed(1) for its configuration file."""
    clock: str | None = None
    """How far off it is, as faketime(1) takes it, such as `-25h`."""

    def __bool__(self) -> bool:
        return bool(self.edits) or self.clock is not None

    @property
    def prefix(self) -> tuple[str, ...]:
        """The beginning of a command line that has this clock. Raises `MissingCapability` without `faketime`."""
        return (program("faketime"), "-f", self.clock) if self.clock is not None else ()

    def applied_to(self, binary: Path, directory: Path) -> Path:
        """The program, or a script that makes the changes and becomes the program."""
        if not self:
            return binary
        script = directory / f"changed-{binary.name}"
        words = [word for edit in self.edits for word in ("-e", edit)]
        edit = f'{shlex.join(["sed", "-i", *words])} "$word"' if words else ":"
        script.write_text(SCRIPT.format(edit=edit, command=shlex.join([*self.prefix, str(binary)])))
        script.chmod(0o700)
        return script
