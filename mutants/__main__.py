"""`python -m mutants NAME [arguments of reference_server]`: a server with one named wrong behaviour.

`python -m mutants --list-json` says which there are and what each declares, for programs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from reference_server.__main__ import main as serve
from reference_server.supervisor import standard_command

from .registry import MUTANTS


def main(argv: Sequence[str]) -> int:
    """Exit codes are those of the server; 2 without the name of a mutant."""
    if list(argv) == ["--list-json"]:
        declared = [
            {
                "name": mutant.name,
                "wrong": mutant.wrong,
                "service": mutant.service,
                "killed_by": [asdict(kill) for kill in mutant.killed_by],
            }
            for mutant in MUTANTS.values()
        ]
        sys.stdout.write(json.dumps(declared) + "\n")
        return 0
    mutant = MUTANTS.get(argv[0]) if argv else None
    if mutant is None:
        names = "\n".join(f"  {known.name:36} {known.wrong}" for known in MUTANTS.values())
        sys.stderr.write(
            f"usage: python -m mutants NAME [arguments of reference_server]; the names are:\n{names}\n"
        )
        return 2

    if mutant.service == "supervisor":
        return mutant.run(argv[1:])

    def command(service: str, arguments: Sequence[str]) -> list[str]:
        if service == mutant.service:
            return [sys.executable, "-m", "mutants.service", mutant.name, *arguments]
        return standard_command(service, arguments)

    return serve(argv[1:], command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
