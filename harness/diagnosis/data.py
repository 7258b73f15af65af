"""A diagnosis for programs: JSON, and metrics for node_exporter's textfile collector."""

from __future__ import annotations

import json
from typing import Any

from ..causes.cause import Weight
from ..text import clean
from .diagnosis import Diagnosis
from .part import NamedCause

__all__ = ["as_json", "as_metrics"]

PREFIX = "dc_harness_doctor"
HELP = {
    "healthy": "1: nothing was found wrong; 0: something was; -1: it could not be told.",
    "cause": "1 for each cause that was found (docs/causes.md).",
    "seconds": "Seconds that the look took.",
    "time_seconds": "Unix time of the look.",
    "certificate_days": "Days that the certificate at a port has left.",
    "clock_ahead_seconds": "The server's clock minus ours.",
    "credentials_expire_seconds": "Seconds until the TURN credentials expire.",
    "idle_wakes_seconds": "Seconds from the 250 of a mail to EXISTS during IDLE.",
}


def as_json(diagnosis: Diagnosis) -> str:
    """One object. `cause` is the worst that makes the server sick, or null."""
    sick = diagnosis.of_weight(Weight.SICK)
    found = {
        "host": diagnosis.look.host,
        "healthy": diagnosis.is_healthy,
        "cause": sick[0].cause.name if sick else None,
        "causes": [_cause(each) for each in diagnosis.causes],
        "excluded": list(diagnosis.excluded),
        "unknown": list(diagnosis.unknown),
        "fix": [change for each in sick for change in each.cause.advice()],
        "steps": [[each.state.value, each.title, each.text] for each in diagnosis.steps],
        "seconds": diagnosis.look.seconds,
        "look": diagnosis.look.to_json(),
    }
    return json.dumps(_clean(found), indent=1)


def _cause(named: NamedCause) -> dict[str, Any]:
    return {
        "name": named.cause.name,
        "weight": named.weight.value,
        "sentence": named.cause.sentence,
        "evidence": list(named.evidence),
        "or": [each.name for each in named.rivals],
        "tell_apart": named.tell_apart,
        "harm": named.cause.harm,
        "change": dict(named.cause.change),
        "explains": list(named.cause.explains),
    }


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(key): _clean(each) for key, each in value.items()}
    return [_clean(each) for each in value] if isinstance(value, list | tuple) else value


def as_metrics(diagnosis: Diagnosis) -> str:
    """In the text format of Prometheus."""
    lines = []
    for name, samples in _samples(diagnosis).items():
        lines += [f"# HELP {PREFIX}_{name} {HELP[name]}", f"# TYPE {PREFIX}_{name} gauge"]
        lines += [f"{PREFIX}_{name}{{{_labels(labels)}}} {value:g}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _samples(diagnosis: Diagnosis) -> dict[str, list[tuple[dict[str, str], float]]]:
    look = diagnosis.look
    host = {"host": look.host}
    healthy = 0.0 if diagnosis.is_sick else -1.0 if diagnosis.unknown else 1.0
    certificates = [each for each in look.certificates if each.days_left is not None]
    samples: dict[str, list[tuple[dict[str, str], float]]] = {
        "healthy": [(host, healthy)],
        "cause": [
            (host | {"cause": each.cause.name, "weight": each.weight.value}, 1.0) for each in diagnosis.causes
        ],
        "seconds": [(host, look.seconds)],
        "time_seconds": [(host, round(look.time))],
        "certificate_days": [
            (host | {"address": each.address, "port": str(each.port)}, each.days_left or 0.0)
            for each in certificates
        ],
    }
    mail = look.mail
    for name, value in (
        ("clock_ahead_seconds", look.clock_ahead_s),
        ("credentials_expire_seconds", mail.expires_in_s if mail else None),
        ("idle_wakes_seconds", mail.idle_wakes_s if mail else None),
    ):
        if value is not None:
            samples[name] = [(host, value)]
    return {name: found for name, found in samples.items() if found}


def _labels(labels: dict[str, str]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    return clean(value).replace("\\", "\\\\").replace('"', '\\"')
