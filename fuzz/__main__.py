"""`python -m fuzz TARGET`: fuzz one target with atheris (libFuzzer), or without it by blind mutation.

What breaks a target is written to a file, whose name is told; put it into fuzz/corpus/TARGET, and it stays a test.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Callable
from pathlib import Path


def main() -> int:
    """0: nothing was found in that time; anything else: the last lines tell what."""
    arguments = _parser().parse_args()
    try:
        import atheris  # noqa: PLC0415 - optional
    except ImportError:
        atheris = None
    if atheris is None or arguments.blind:
        return _blind(arguments)
    with atheris.instrument_imports(include=["harness", "reference_server"], enable_loader_override=False):
        from .targets import CORPUS, TARGETS  # noqa: PLC0415 - instrumented as it is loaded
    target = _chosen(TARGETS, arguments.target)
    arguments.found.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={arguments.seconds}", "-max_len=8192", "-timeout=10", "-print_final_stats=1"]
    options += [f"-seed={arguments.seed}", f"-artifact_prefix={arguments.found}/{arguments.target}-"]
    kept = arguments.found / "corpus" / arguments.target
    kept.mkdir(parents=True, exist_ok=True)
    atheris.Setup([sys.argv[0], *options, str(kept), str(CORPUS / arguments.target)], target)
    atheris.Fuzz()  # ends this process
    return 0


def _blind(arguments: argparse.Namespace) -> int:
    from .mutation import mutations  # noqa: PLC0415
    from .targets import TARGETS, seeds  # noqa: PLC0415

    target, until = _chosen(TARGETS, arguments.target), time.monotonic() + arguments.seconds
    for number, data in enumerate(mutations(seeds(arguments.target), arguments.seed)):
        try:
            target(data)
        except Exception:
            arguments.found.mkdir(parents=True, exist_ok=True)
            name = f"{arguments.target}-{hashlib.sha256(data).hexdigest()[:12]}"
            arguments.found.joinpath(name).write_bytes(data)
            sys.stderr.write(f"input {number} of seed {arguments.seed} breaks it: {arguments.found / name}\n")
            raise
        if time.monotonic() > until:
            sys.stdout.write(f"{arguments.target}: {number + 1} inputs\n")
            return 0
    return 0


def _chosen(targets: object, name: str) -> Callable[[bytes], None]:
    assert isinstance(targets, dict)
    if name not in targets:
        sys.exit(f"there is no target {name}; there are {', '.join(sorted(targets))}")
    found: Callable[[bytes], None] = targets[name]
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="Fuzzes one target.")
    parser.add_argument("target", metavar="TARGET", help="a name in fuzz/targets.py; a wrong one lists them")
    parser.add_argument("--seconds", type=int, default=60, help="how long (default: 60)")
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers (default: 1)")
    parser.add_argument("--found", type=Path, default=Path("fuzz-found"), help="where findings go")
    parser.add_argument("--blind", action="store_true", help="without atheris, though it is installed")
    return parser


if __name__ == "__main__":
    sys.exit(main())
