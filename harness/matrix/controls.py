"""Looking at the servers of a matrix before any cell: whether each starts, and what it answers to a made-up scenario.

Capabilities are looked up in METADATA, or stated by a server that we start. One that has a value for a key that was
invented a moment ago, or takes a setting that does not exist, is not to be believed: the positive control of a matrix.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..clients.mail.imap import ImapClient, ImapError
from ..hosts import Host, MissingCapability, end_process
from ..report.records import Verdict
from ..report.run import Run
from ..scratch import scratch_directory
from ..servers.registry import server_of
from ..servers.server import Place, Server, ServerError, Unsupported, Wants
from ..stage.options import Choice
from ..stage.session import Session, open_session
from ..waiting import WaitTimeout
from .registry import ServerEntry

__all__ = ["Looked", "declared_kills", "look_at"]

LIST_WITHIN = 300.0
"""Seconds; it takes one where little else runs."""


@dataclass(frozen=True)
class MadeUpWants(Wants):
    """With a property that no server has."""

    made_up: bool | None = None


@dataclass(frozen=True)
class Looked:
    """A server as it was found before the matrix."""

    versions: Mapping[str, str] = field(default_factory=dict)
    """Program -> its version."""
    refused: tuple[Verdict, str] | None = None
    """Verdict and reason of all its cells, where it cannot be had; None: it can."""
    made_up: tuple[Verdict, str] = (Verdict.NOT_RUN, "")
    """Its answer to the made-up scenario."""


def look_at(entry: ServerEntry, run: Run) -> Looked:
    """Start it, or reach it, ask it for what does not exist, and end it."""
    choice = Choice(domain=entry.domain) if entry.domain else Choice(kind=server_of(entry.kind))
    try:
        with open_session(run, choice, logs=run.logs / entry.name) as session:
            return Looked(session.server.versions, made_up=_made_up(session))
    except ServerError as error:
        refused = Verdict.FAILED, str(error)
    except (MissingCapability, Unsupported) as missing:
        refused = Verdict.SKIPPED, str(missing)
    return Looked(refused=refused, made_up=(Verdict.SKIPPED, refused[1]))


def declared_kills(host: Host) -> dict[str, dict[str, str]]:
    """Mutant -> check that must notice it -> words of its reason. Raises `MissingCapability` where there are none."""
    process = host.start_program(
        [sys.executable, "-m", "mutants", "--list-json"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    try:
        output, _ = process.communicate(timeout=LIST_WITHIN)
    except subprocess.TimeoutExpired:
        output = b""
    finally:
        code = end_process(process, patience=1.0)
    if code != 0 or not output:
        raise MissingCapability(
            "mutants", "python -m mutants --list-json failed", heal="pip install dc-harness"
        )
    return {
        each["name"]: {kill["check"]: kill["phrase"] for kill in each["killed_by"]}
        for each in json.loads(output)
    }


def _made_up(session: Session) -> tuple[Verdict, str]:
    claims = []
    name = f"made-up-{secrets.token_hex(4)}"
    key = f"/shared/vendor/deltachat/{name}"
    try:
        with ImapClient(session.host, session.target) as imap:
            imap.login(session.target.any_account())
            value = imap.get_metadata(key).get(key)
        if value is not None and value.value:
            claims.append(f"METADATA has a value for {key}, which was made up")
    except ImapError as error:
        said = f"METADATA has no {name}: {error}"
    except (MissingCapability, WaitTimeout, OSError) as error:
        return Verdict.UNDECIDED, f"{session.target.name} could not be asked: {error}"
    else:
        said = f"METADATA has no {name}"
    if session.kind is not None and (answer := _refusal(session.kind, session)):
        said = f"{said}; {answer}"
    elif session.kind is not None:
        claims.append(f"{session.kind.name} was started with a setting that was made up")
    return (Verdict.FAILED, "; ".join(claims)) if claims else (Verdict.UNSUPPORTED, said)


def _refusal(kind: Server, session: Session) -> str:
    """Words with which it refuses the made-up setting; empty: it does not."""
    with scratch_directory("state") as state:
        place = Place("127.0.0.1", state, session.logs)
        try:
            kind.start(session.host, place, MadeUpWants(made_up=True)).close()
        except Unsupported as unsupported:
            return str(unsupported)
        except ServerError:
            return ""
    return ""
