"""`main.py --stress`: a thin door to `dc-harness load`, with madmail's flags and report files."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .console import Console

if TYPE_CHECKING:
    from ...load.results import LoadResults, WorkerCounts
    from ..load import LoadOrder

__all__ = ["Stress", "add_stress_flags", "read_stress", "stress"]

SPAWN_RATE = 10.0
"""Clients that come in a second; madmail's suite has no flag for it."""
REPORT = "stress_report.json"


@dataclass(frozen=True)
class Stress:
    """A load in the words of madmail's suite."""

    order: LoadOrder
    duration: int
    """Seconds in which all clients are there and send."""
    workers: int
    report: Path
    """The JSON file; its Markdown is beside it."""


def add_stress_flags(parser: argparse.ArgumentParser) -> None:
    """As madmail's `main.py` has them, with its defaults."""
    add = parser.add_argument
    add("--stress", action="store_true", help="many clients without a core at once, and nothing else")
    add("--stress-users", type=int, default=50, metavar="N", help="with --stress: clients (default: 50)")
    add(
        "--stress-workers",
        type=int,
        default=8,
        metavar="N",
        help="processes for them, at most one for each client (default: 8)",
    )
    add(
        "--stress-duration",
        type=int,
        default=60,
        metavar="SECONDS",
        help="in which they send, when all have come (default: 60)",
    )
    add("--stress-report", type=Path, metavar="FILE", help=f"JSON (default: {REPORT} with the results)")


def read_stress(given: argparse.Namespace) -> Stress:
    """Make sense of a command line. Raises `ValueError` with a sentence, and `MissingCapability` without Locust."""
    from ...load.plan import LEAST_SECONDS, PAUSE, PlanError  # noqa: PLC0415
    from ..load import LoadOrder  # noqa: PLC0415 - a run of tests need not load it

    for flag in ("users", "workers", "duration"):
        if getattr(given, f"stress_{flag}") < 1:
            raise ValueError(f"--stress-{flag} is a number of at least 1")
    ramp = -(-given.stress_users // int(SPAWN_RATE))
    workers = min(given.stress_workers, given.stress_users)
    try:
        order = LoadOrder.read(
            given,
            users=given.stress_users,
            spawn_rate=SPAWN_RATE,
            run_time=ramp + max(given.stress_duration, LEAST_SECONDS),
            workers=workers,
            pause=PAUSE,
            **{"master": None, "worker": None, "web": None, "master_port": 0},
        )
    except PlanError as error:
        raise ValueError(
            str(error).replace("--users", "--stress-users").replace("--run-time", "--stress-duration")
        ) from error
    report = given.stress_report or order.directory / REPORT
    return Stress(order, given.stress_duration, workers, report)


def stress(asked: Stress, console: Console) -> int:
    """Run it; the exit code is that of `dc-harness load`."""
    from ..load import perform  # noqa: PLC0415

    console.header(asked.order.choice.title)
    code, results = perform(asked.order)
    if results is None:
        return code
    report = report_of(asked, results)
    page = asked.report.with_suffix(".md")
    asked.report.parent.mkdir(parents=True, exist_ok=True)
    asked.report.write_text(json.dumps(report, indent=2) + "\n")
    page.write_text(markdown_of(report, asked.report.name))
    console.step(f"Stress report written to {asked.report} and {page}")
    console.step(f"Messages sent: {report['messages_sent']}, arrived: {report['messages_arrived']}")
    console.step(f"Send rate (messages/sec): {report['send_rate_mps']:.2f}")
    return code


def report_of(asked: Stress, results: LoadResults) -> Mapping[str, Any]:
    """Madmail's keys, and what it does not count: arrivals, times and errors of each step."""
    sent = results.messages.sent
    sending = max(1.0, min(results.seconds, asked.order.plan.run_time))
    return {
        "remote": asked.order.choice.name,
        "users": results.users_wanted,
        "workers": asked.workers,
        "duration_seconds": asked.duration,
        "messages_sent": sent,
        "send_rate_mps": round(sent / sending, 3),
        "workers_results": [
            _worker_result(number, each) for number, each in enumerate(results.of_workers, start=1)
        ],
        "complete": results.is_whole,
        "users_reached": results.users_reached,
        "workers_lost": results.workers_lost,
        "messages_arrived": results.messages.arrived,
        "messages_doubled": results.messages.doubled,
        "steps": [each.to_json() for each in results.steps],
        "errors": [f"{each.service}: {each.text} ({each.times} times)" for each in results.complaints],
        "server": dict(results.server),
    }


def _worker_result(number: int, counts: WorkerCounts) -> Mapping[str, Any]:
    """One worker in madmail's keys. Clients without a core make no secure join, so these take no time."""
    return {
        "worker_id": number,
        "users": counts.users,
        "accounts_created": counts.accounts,
        "account_create_seconds": counts.account_seconds,
        "secure_join_seconds": 0.0,
        "messages_sent": counts.messages_sent,
        "send_seconds": counts.send_seconds,
        "errors": list(counts.complaints),
        "worker_seconds": counts.seconds,
    }


def markdown_of(report: Mapping[str, Any], json_name: str) -> str:
    """The page for people, below the headings that madmail's has."""
    rate, users = report["send_rate_mps"], max(1, report["users"])
    whole = "" if report["complete"] else " (a part: the load was cut short)"
    lines = [
        "# Stress Test Report",
        "",
        "## Test Setup",
        f"- Target server: {report['remote']}",
        f"- Users: {report['users']}, of whom {report['users_reached']} were there at the same time",
        f"- Workers: {report['workers']}, of whom {report['workers_lost']} ended too early",
        f"- Send window: {report['duration_seconds']}s",
        "",
        "## Key Results",
        f"- Messages sent: {report['messages_sent']}{whole}",
        f"- Arrived: {report['messages_arrived']}; arrived more than once: {report['messages_doubled']}",
        f"- Aggregate send rate: {rate:.2f} msg/sec",
        f"- Avg per-user send rate: {rate / users:.2f} msg/sec",
        *(
            f"- {each['service']}, {each['name']}: p50 {each['p50_ms']:.0f} ms, p95 {each['p95_ms']:.0f} ms, "
            f"p99 {each['p99_ms']:.0f} ms; {each['failures']} of {each['count']} failed"
            for each in report["steps"]
        ),
        "",
        "## Notes",
        *(f"- {each}" for each in report["errors"] or ["No step failed."]),
        "",
        "## Raw Data",
        f"- JSON: {json_name}",
        "",
    ]
    return "\n".join(lines)
