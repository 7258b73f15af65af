"""`python -m mutants NAME [arguments of reference_server]`: a server with one named wrong behaviour.

`python -m mutants --list-json` tells programs all of them, and what each declares.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from reference_server.__main__ import main as serve
from reference_server.programs import Program, standard_program

from .declaration import all_mutants, find


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes are those of the server; 2 without the name of a mutant."""
    argv = sys.argv[1:] if argv is None else argv
    if list(argv) == ["--list-json"]:
        declared = [
            {
                "name": mutant.name,
                "wrong": mutant.wrong,
                "service": mutant.service,
                "killed_by": [{"check": check, "phrase": phrase} for check, phrase in mutant.kills.items()],
            }
            for mutant in all_mutants().values()
        ]
        sys.stdout.write(json.dumps(declared) + "\n")
        return 0
    mutant = find(argv[0]) if argv else None
    if mutant is None:
        names = "\n".join(f"  {known.name:36} {known.wrong}" for known in all_mutants().values())
        sys.stderr.write(
            f"usage: python -m mutants NAME [arguments of reference_server]; the names are:\n{names}\n"
        )
        return 2
    if mutant.service == "supervisor":
        return serve(argv[1:], supervisor=mutant.make)

    def program(service: str) -> Program:
        return mutant.make if service == mutant.service else standard_program(service)

    return serve(argv[1:], program)


if __name__ == "__main__":
    sys.exit(main())
