"""`dc-harness load`: many clients without a core at once, and what became of everything that they sent."""

from __future__ import annotations

import argparse
import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ..hosts import LocalHost, MissingCapability
from ..load.plan import LoadPlan, PlanError, check_descriptors
from ..load.results import LoadResults
from ..load.run import cost_of, require_locust, run_load
from ..report.run import new_run_directory
from ..scratch import scratch_directory
from ..servers.process import free_port
from ..servers.reference import COMMAND, SupervisorProcess
from ..servers.server import Place, ServerError
from ..stage.options import Choice, add_options, option_names
from ..target import Impact
from .check import RUNS
from .console import complain, say
from .exit_codes import EXPLANATION, FAILED, INTERRUPTED, NOTHING_RAN, PASSED, UNDECIDED

__all__ = ["add_command", "load"]

HARMFUL = "a load is harmful: others would notice. Name the server again with --i-own-this-server"
MANY = 100_000
"""Connections and allocations from one address that a server of ours allows for this."""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "load",
        help="many clients at once, against a server of ours or one that you own",
        epilog=EXPLANATION,
    )
    add_load_options(parser)
    roles = parser.add_mutually_exclusive_group()
    roles.add_argument("--master", action="store_true", help="wait for --workers of them from other machines")
    roles.add_argument("--worker", metavar="HOST", help="be a worker of the master on this machine")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="directory for results (default: reports/runs/...)"
    )
    add_options(parser.add_argument)
    parser.set_defaults(run=lambda arguments: load(parser, arguments))


def add_load_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--users", type=int, default=100, metavar="N", help="clients at the same time (default: 100)"
    )
    parser.add_argument(
        "--spawn-rate", type=float, default=10.0, metavar="N", help="that come in a second (default: 10)"
    )
    parser.add_argument(
        "--run-time", type=int, default=60, metavar="SECONDS", help="until all leave (default: 60)"
    )
    parser.add_argument(
        "--workers", type=int, default=0, metavar="N", help="processes for the clients (default: one for all)"
    )


def load(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """0: all arrived once; 1: the server failed somebody; 3: the load itself was cut short."""
    directory = arguments.out or new_run_directory(RUNS)
    try:
        choice = Choice.read(vars(arguments).get)
        if choice.kind is not None:
            raise PlanError(
                "--server: a load needs a server that runs (--domain, --endpoints), or none: ours"
            )
        if choice.is_remote and choice.impact is not Impact.HARMFUL:
            raise PlanError(HARMFUL)
        options = {name: _plain(getattr(arguments, name)) for name in option_names()}
        plan = LoadPlan(
            arguments.users,
            arguments.spawn_rate,
            arguments.run_time,
            str((directory / "load.json").absolute()),
            options,
        )
        check_descriptors(plan.users, max(1, arguments.workers))
        require_locust()
    except MissingCapability as missing:
        complain(str(missing))
        return NOTHING_RAN
    except ValueError as error:  # PlanError is one
        parser.error(str(error))
    directory.mkdir(parents=True, exist_ok=True)
    return _run(choice, plan, _roles(arguments))


def _run(choice: Choice, plan: LoadPlan, roles: list[str]) -> int:
    host = LocalHost()
    with scratch_directory("load") as scratch, ExitStack() as stack:
        try:
            if choice.is_remote:
                results = run_load(host, plan, scratch, roles)
            else:
                server = stack.enter_context(_own_server(host, scratch))
                ready = scratch / "ready.json"
                ready.write_text(json.dumps({"endpoints": dict(server.endpoints)}))
                ours = {"endpoints": str(ready), "i_own_this_server": server.endpoints["host"]}
                plan = LoadPlan(
                    plan.users, plan.spawn_rate, plan.run_time, plan.results, {**plan.options, **ours}
                )
                results = run_load(host, plan, scratch, roles, cost=lambda: cost_of(server.pid))
        except KeyboardInterrupt:
            complain(f"interrupted; what was measured until then is in {plan.results}")
            return INTERRUPTED + 2
        except ServerError as error:
            complain(str(error))
            return FAILED
        if results is None or not results.steps:
            complain((scratch / "locust.log").read_text(errors="replace")[-2000:])
            return PASSED if "--worker" in roles else NOTHING_RAN
    return _tell(results, plan)


def _tell(results: LoadResults, plan: LoadPlan) -> int:
    say(results.text())
    for problem in results.problems:
        say(problem)
    say(f"results: {plan.results}")
    if results.problems:
        return FAILED
    return PASSED if results.is_whole else UNDECIDED


def _own_server(host: LocalHost, scratch: Path) -> SupervisorProcess:
    """A server that lets so many come from one address."""
    relay = scratch / "iroh-relay.toml"
    relay.write_text(f"[reference_server]\nmax_connections = {MANY}\nmax_connections_per_address = {MANY}\n")
    words = [
        *("--state", str(scratch / "state"), "--ephemeral-ports"),
        *("--mail-connections", str(MANY), "--mail-connections-per-source", str(MANY)),
        *("--new-accounts-per-minute", "0"),
        *("--turn-allocations", str(MANY), "--turn-allocations-per-source", str(MANY)),
        *("--turn-allocations-per-username", str(MANY)),
    ]
    return SupervisorProcess(host, COMMAND, words, Place("", scratch / "state", scratch / "logs"))


def _roles(arguments: argparse.Namespace) -> list[str]:
    if arguments.worker:
        return ["--worker", "--master-host", arguments.worker]
    if arguments.master:
        return ["--master", "--expect-workers", str(max(1, arguments.workers))]
    if arguments.workers < 2:
        return []
    port = str(free_port(LocalHost(), "127.0.0.1"))
    return [
        *("--processes", str(arguments.workers), "--expect-workers", str(arguments.workers)),
        *("--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--master-port", port),
    ]


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
