"""`dc-harness load`: many clients without a core at once, and what became of everything that they sent."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..hosts import Host, LocalHost, MissingCapability
from ..load.plan import PAUSE, LoadPlan, PlanError, check_descriptors
from ..load.records import SHARES, load_seen, records_of
from ..load.results import LoadResults
from ..load.run import COME_WITHIN, cost_of, read_results, require_locust, run_load
from ..report.observations import AccountsLeft
from ..report.run import Run, new_run_directory
from ..report.terminal import render_end
from ..scratch import scratch_directory
from ..servers.endpoints import endpoints_of
from ..servers.process import Process, free_port
from ..servers.reference import COMMAND, Reference, SupervisorProcess
from ..servers.server import Place, RunningServer, Server, ServerError, Unsupported, Wants
from ..stage.options import Choice, add_options, option_names
from ..stage.session import loopback_place
from ..stage.survey import machine_seen
from ..target import Impact
from .check import RUNS
from .console import complain, say
from .exit_codes import EXPLANATION, FAILED, NOTHING_RAN, PASSED, UNDECIDED, exit_code_of
from .interrupts import Interrupted, interruptible, uninterrupted
from .values import results_directory

__all__ = ["LoadOrder", "add_command", "perform"]

HARMFUL = "a load is harmful: others would notice. Name the server again with --i-own-this-server"
MANY = 100_000
"""Connections and allocations from one address that a server of ours allows for this."""
MASTER_PORT, WEB_PORT = 5557, 8089
"""As Locust has them."""


@dataclass(frozen=True)
class LoadOrder:
    """A load as somebody asked for it."""

    choice: Choice
    plan: LoadPlan
    directory: Path
    roles: tuple[str, ...] = ()
    """Words for Locust on its processes and its page."""

    @classmethod
    def read(cls, arguments: argparse.Namespace, **more: Any) -> LoadOrder:
        """Make sense of a command line; `more` takes the place of what it says.

        Raises `ValueError` with a sentence, and `MissingCapability` where Locust is not installed.
        """
        given = argparse.Namespace(**{**vars(arguments), **more})
        directory = (given.out or new_run_directory(RUNS)).absolute()
        choice = Choice.read(vars(given).get)
        _refuse_what_is_not_ours(choice, spread=bool(given.master or given.worker))
        options = {name: _plain(getattr(given, name)) for name in option_names()}
        results = str(directory / "load.json")
        plan = LoadPlan(
            given.users,
            given.spawn_rate,
            given.run_time,
            results,
            options,
            workers=max(1, given.workers),
            pause=given.pause,
            own_part=bool(given.worker),
        )
        check_descriptors(plan.users, max(1, given.workers))
        require_locust()
        return cls(choice, plan, directory, (*_roles(given), *_page(given)))

    @property
    def is_worker(self) -> bool:
        """Of a master on another machine, which has the results of all."""
        return self.plan.own_part


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser], sentence: str) -> None:
    parser = commands.add_parser(
        "load",
        help=sentence,
        epilog=EXPLANATION,
    )
    number = parser.add_argument
    number("--users", type=int, default=100, metavar="N", help="clients at the same time (default: 100)")
    number("--spawn-rate", type=float, default=10.0, metavar="N", help="that come in a second (default: 10)")
    number("--run-time", type=int, default=60, metavar="SECONDS", help="until all leave (default: 60)")
    number(
        "--pause",
        type=float,
        default=PAUSE,
        metavar="SECONDS",
        help="between two things that one client does, on average (default: 8)",
    )
    number(
        "--workers", type=int, default=0, metavar="N", help="processes for the clients (default: one for all)"
    )
    roles = parser.add_mutually_exclusive_group()
    roles.add_argument(
        "--master",
        nargs="?",
        const="0.0.0.0",  # noqa: S104 - others have to reach it
        metavar="ADDRESS",
        help="wait at this address (default: all) for --workers of them from other machines",
    )
    roles.add_argument("--worker", metavar="HOST", help="be a worker of the master on this machine")
    number(
        "--master-port", type=int, default=MASTER_PORT, metavar="N", help="its port (default: %(default)s)"
    )
    number(
        "--web",
        nargs="?",
        type=int,
        const=WEB_PORT,
        metavar="PORT",
        help=f"show Locust's own page at this port of 127.0.0.1 (default: {WEB_PORT}); it starts and ends nothing",
    )
    number(
        "--out",
        type=results_directory,
        metavar="DIR",
        help="directory for results (default: reports/runs/...)",
    )
    add_options(parser.add_argument)
    parser.set_defaults(run=lambda arguments: _load(parser, arguments))


def _load(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    try:
        order = LoadOrder.read(arguments)
    except MissingCapability as missing:
        complain(str(missing))
        return NOTHING_RAN
    except ValueError as error:  # PlanError is one
        parser.error(str(error))
    if arguments.web:
        say(f"Locust's page: http://127.0.0.1:{arguments.web}")
    return _serve(order) if order.is_worker else perform(order)[0]


def perform(order: LoadOrder) -> tuple[int, LoadResults | None]:
    """Run a load with its plan, records and reports. Returns the exit code, and what was found.

    0: all arrived once; 1: the server failed somebody; 3: the load itself was cut short.
    """
    run = Run(order.directory)
    target = order.choice.name
    run.plan(((each.check, each.requirements) for each in SHARES), target=target)
    code, interrupted, began = None, "", time.time()
    with uninterrupted(), scratch_directory("load") as scratch:
        try:
            with interruptible():
                run.begin(machine_seen(), target=target)
                _run(order, scratch, run.logs)
        except (ServerError, Unsupported, MissingCapability) as error:
            code, interrupted = (FAILED if isinstance(error, ServerError) else NOTHING_RAN), str(error)
        except Interrupted as signal:
            code, interrupted = signal.exit_code, str(signal)
        results = read_results(order.plan)
        if results is not None and results.steps:
            run.begin(load_seen(results, order.plan), *_accounts_left(order.choice, results), target=target)
            files = [Path(order.plan.results), *run.logs.glob("locust.log")]
            for each in records_of(
                results, order.plan, run=run.name, target=target, began=began, interrupted=interrupted
            ):
                run.add(each, files)
        elif not interrupted:
            interrupted = f"no client came: {_last_line(run.logs / 'locust.log')}"
            code = NOTHING_RAN
        run.end(interrupted=interrupted)
        run.finish()
    say(f"{render_end(run.records, directory=run.directory)}\n\nReport: {run.directory / 'report.html'}")
    return exit_code_of(run.records) if code is None else code, results


def _serve(order: LoadOrder) -> int:
    """Be a worker until the master says that it is over, or has gone: then what was counted here is kept as a part."""
    order.directory.mkdir(parents=True, exist_ok=True)
    with uninterrupted(), scratch_directory("load") as scratch:
        try:
            with interruptible():
                run_load(LocalHost(), order.plan, scratch, order.directory / "locust.log", order.roles)
        except ServerError as error:
            complain(str(error))
            return NOTHING_RAN
        except Interrupted as signal:
            complain(f"interrupted ({signal}); what was counted here is in {order.plan.results}")
            return signal.exit_code
    results = read_results(order.plan)
    if results is None:
        complain(f"the master gave no work: {_last_line(order.directory / 'locust.log')}")
        return NOTHING_RAN
    kept = f"what was counted here is in {order.plan.results}; the results of all are with the master"
    if not results.complete:
        complain(
            f"the master ended the load, or has gone, after {results.seconds:.0f} s: this is a part; {kept}"
        )
        return UNDECIDED
    say(kept)
    return PASSED


def _run(order: LoadOrder, scratch: Path, logs: Path) -> None:
    host, log = LocalHost(), logs / "locust.log"
    if order.choice.is_remote:
        # What is wrong with it is said here, and not by each of Locust's processes.
        order.choice.open(host, scratch)
        run_load(host, order.plan, scratch, log, order.roles)
        return
    with _own_server(order.choice.kind, host, scratch, logs) as (endpoints, cost):
        ready = scratch / "ready.json"
        ready.write_text(json.dumps({"endpoints": endpoints}))
        ours = {
            **order.plan.options,
            **{"target": None, "server": None, "ca_file": None},
            **{"endpoints": str(ready), "i_own_this_server": endpoints["host"]},
        }
        run_load(host, replace(order.plan, options=ours), scratch, log, order.roles, cost=cost)


@contextmanager
def _own_server(
    kind: Server | None, host: Host, scratch: Path, logs: Path
) -> Iterator[tuple[dict[str, Any], Callable[[], dict[str, float]]]]:
    """A server that is started for it: its endpoints, and what it has cost so far. Ours lets many come at once."""
    if kind is None or kind.name == Reference.name:
        with SupervisorProcess(host, COMMAND, _for_many(scratch), Place("", scratch / "state", logs)) as own:
            yield dict(own.endpoints), lambda: cost_of(own.pid)
        return
    with kind.start(host, loopback_place(scratch / "state", logs), Wants()) as server:
        if not isinstance(server, RunningServer):
            raise ServerError(f"{kind.name} has no mail, and is no target by itself")
        pids = {each.pid for each in server.programs.values() if isinstance(each, Process)}
        yield endpoints_of(server.target), lambda: _sum(map(cost_of, pids))


def _for_many(scratch: Path) -> list[str]:
    """Arguments of a server that lets so many come from one address."""
    return [
        *("--state", str(scratch / "state"), "--ephemeral-ports"),
        *("--mail-connections", str(MANY), "--mail-connections-per-source", str(MANY)),
        *("--new-accounts-per-minute", "0"),
        *("--turn-allocations", str(MANY), "--turn-allocations-per-source", str(MANY)),
        *("--turn-allocations-per-username", str(MANY)),
        *("--relay-connections", str(MANY), "--relay-connections-per-source", str(MANY)),
    ]


def _refuse_what_is_not_ours(choice: Choice, *, spread: bool) -> None:
    if choice.is_remote and choice.impact is not Impact.HARMFUL:
        raise PlanError(HARMFUL)
    if spread and not choice.is_remote:
        raise PlanError(
            "--master and --worker need a server that all machines reach: --domain or --endpoints"
        )
    if choice.given is not None:
        raise PlanError("--account: each client of a load makes an account of its own")


def _roles(given: argparse.Namespace) -> list[str]:
    if given.worker:
        several = ["--processes", str(given.workers)] if given.workers > 1 else []
        return ["--worker", *several, "--master-host", given.worker, "--master-port", str(given.master_port)]
    waiting = ["--expect-workers", str(max(1, given.workers)), "--expect-workers-max-wait", str(COME_WITHIN)]
    if given.master:
        return ["--master", *waiting, *_bound(given.master, given.master_port)]
    if given.workers < 2:
        return []
    port = free_port(LocalHost(), "127.0.0.1")
    return [
        "--processes",
        str(given.workers),
        *waiting,
        *_bound("127.0.0.1", port),
        "--master-port",
        str(port),
    ]


def _bound(address: str, port: int) -> list[str]:
    return ["--master-bind-host", address, "--master-bind-port", str(port)]


def _page(given: argparse.Namespace) -> list[str]:
    if given.web is None or given.worker:
        return ["--headless"]
    return ["--autostart", "--web-host", "127.0.0.1", "--web-port", str(given.web)]


def _accounts_left(choice: Choice, results: LoadResults) -> list[AccountsLeft]:
    return [AccountsLeft(results.users_reached)] if choice.is_remote else []


def _sum(costs: Iterator[dict[str, float]]) -> dict[str, float]:
    found = list(costs)
    return {name: sum(each[name] for each in found) for name in ("cpu_seconds", "megabytes")}


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
    return lines[-1][-300:] if lines else "Locust said nothing"


def _plain(value: Any) -> Any:
    return str(value.absolute()) if isinstance(value, Path) else value
