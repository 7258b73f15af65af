"""Results of a load: times of each step, and what became of every message, packet and frame."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Carried", "LoadResults", "Step"]

SCHEMA = 1


@dataclass(frozen=True)
class Step:
    """One kind of thing that clients do. Times in milliseconds."""

    service: str
    name: str
    count: int
    failures: int
    p50: float
    p95: float
    p99: float


@dataclass
class Carried:
    """What was sent and what arrived; `doubled` arrived more often than once."""

    sent: int = 0
    arrived: int = 0
    doubled: int = 0
    bytes_sent: int = 0
    bytes_arrived: int = 0

    def add(self, other: Mapping[str, int]) -> None:
        for name, value in other.items():
            setattr(self, name, getattr(self, name) + int(value))

    @property
    def missing(self) -> int:
        return self.sent - self.arrived


@dataclass(frozen=True)
class LoadResults:
    """`complete` is False while the load runs, and where it was cut short."""

    complete: bool
    users_wanted: int
    users_reached: int
    seconds: float
    workers: int = 0
    workers_lost: int = 0
    steps: tuple[Step, ...] = ()
    messages: Carried = field(default_factory=Carried)
    media: Carried = field(default_factory=Carried)
    """Packets over TURN, which may lose some: UDP."""
    frames: Carried = field(default_factory=Carried)
    """Over the iroh relay."""
    errors: tuple[tuple[str, int], ...] = ()
    """Sentences, each with how often it was said."""
    server: Mapping[str, float] = field(default_factory=dict)
    """CPU seconds and megabytes of a server that was started for it."""

    def write(self, file: Path) -> None:
        """As a whole, or not at all."""
        unfinished = file.with_suffix(".part")
        unfinished.write_text(json.dumps({"schema": SCHEMA, **asdict(self)}, indent=2) + "\n")
        unfinished.replace(file)

    @classmethod
    def read(cls, file: Path) -> LoadResults:
        values: dict[str, Any] = json.loads(file.read_text())
        values.pop("schema")
        steps = tuple(Step(**each) for each in values.pop("steps"))
        for name in ("messages", "media", "frames"):
            values[name] = Carried(**values[name])
        errors = tuple((text, number) for text, number in values.pop("errors"))
        return cls(**values, steps=steps, errors=errors)

    @property
    def is_whole(self) -> bool:
        """Nothing of the load itself was lost."""
        return self.complete and not self.workers_lost and self.users_reached >= self.users_wanted

    @property
    def problems(self) -> list[str]:
        """Sentences on what the server did wrong."""
        found = []
        for carried, what in ((self.messages, "messages"), (self.frames, "frames of the iroh relay")):
            if carried.missing:
                found.append(f"{carried.missing} of {carried.sent} {what} never arrived")
            if carried.doubled:
                found.append(f"{carried.doubled} {what} arrived more than once")
        if self.media.doubled:
            found.append(f"{self.media.doubled} packets of calls arrived more than once")
        failed = sum(step.failures for step in self.steps)
        if failed:
            found.append(f"{failed} of {sum(step.count for step in self.steps)} steps failed")
        return found

    def text(self) -> str:
        """A table for people."""
        lines = [f"{'step':34} {'count':>8} {'failed':>7} {'p50 ms':>8} {'p95 ms':>8} {'p99 ms':>8}"]
        lines += [
            f"{f'{step.service}: {step.name}':34} {step.count:8} {step.failures:7}"
            f" {step.p50:8.0f} {step.p95:8.0f} {step.p99:8.0f}"
            for step in self.steps
        ]
        for carried, what in ((self.messages, "messages"), (self.media, "packets"), (self.frames, "frames")):
            lines.append(
                f"{what}: {carried.sent} sent, {carried.arrived} arrived, {carried.missing} missing, "
                f"{carried.doubled} doubled; {carried.bytes_sent} bytes sent, {carried.bytes_arrived} arrived"
            )
        lines += [f"{number} x {text}" for text, number in self.errors]
        if self.server:
            lines.append(
                f"server: {self.server['cpu_seconds']:.1f} s of CPU, {self.server['megabytes']:.0f} MB; "
                f"per client {self.server['cpu_seconds'] / max(1, self.users_reached) * 1000:.0f} ms of CPU, "
                f"{self.server['megabytes'] * 1000 / max(1, self.users_reached):.0f} kB"
            )
        if self.workers_lost:
            lines.append(f"{self.workers_lost} of {self.workers} workers ended too early: this is a part")
        if not self.complete:
            lines.append("the load was cut short: this is a part")
        return "\n".join(lines)
