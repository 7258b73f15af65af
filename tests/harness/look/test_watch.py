"""`doctor --watch`: the first look whole, then only what changes, until it is interrupted."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator

import pytest

from harness.diagnosis.diagnosis import Diagnosis
from harness.doors import examination
from harness.doors.cli import main
from harness.doors.interrupts import Interrupted
from harness.look.look import look_at
from harness.report.looks import Look

from ..diagnosis.looks import HEALTHY, REFUSED, with_turn

SICK = with_turn(first=REFUSED, second=None, pair=None, from_outside=None, to_outside=None)
DC_HARNESS = (sys.executable, "-c", "import sys; from harness.doors.cli import main; sys.exit(main())")


def watched(monkeypatch: pytest.MonkeyPatch, looks: list[Look], *words: str) -> int:
    """The command over a server that is one look after the other; then somebody presses Ctrl-C."""

    def at_once(look: Callable[[], Iterable[Diagnosis]], *, every: float) -> Iterator[Diagnosis]:
        assert every == 600
        for _ in looks[:]:
            yield from look()
        raise Interrupted(signal.SIGINT)

    coming = iter(looks)
    monkeypatch.setattr(examination, "watch", at_once)
    monkeypatch.setattr(examination, "look_at", lambda *_, **__: next(coming))
    return main(["doctor", "--server", "reference", "--watch", "10m", *words])


def test_only_changes_are_said(monkeypatch, capsys):
    assert watched(monkeypatch, [HEALTHY, HEALTHY, SICK, SICK, HEALTHY]) == 130
    first, *later = capsys.readouterr().out.split("Sent")[0].split("HEALTHY: nothing was found wrong.")
    assert "accepts the password" in first
    lines = [line for line in later[0].splitlines() if "[turn.secret_differs]" in line]
    assert [line.split("UTC  ")[1].split()[0] for line in lines] == ["new", "healed"]


def test_metrics_are_written_at_every_look(monkeypatch, tmp_path):
    file = tmp_path / "doctor.prom"
    assert watched(monkeypatch, [HEALTHY, SICK], "--prometheus", str(file)) == 130
    assert f'dc_harness_doctor_healthy{{host="{SICK.host}"}} 0' in file.read_text()


def test_changes_for_programs(monkeypatch, capsys):
    watched(monkeypatch, [HEALTHY, HEALTHY, SICK], "--json")
    decoder, text, causes = json.JSONDecoder(), capsys.readouterr().out.strip(), []
    while text:
        found, end = decoder.raw_decode(text)
        causes.append(found["cause"])
        text = text[end:].strip()
    assert causes == [None, "turn.secret_differs"]


def test_the_two_accounts_are_made_once(monkeypatch, capsys):
    seen = []

    def looking(target, host, *, parts):
        look = look_at(target, host, parts=parts)
        target.accounts.begin()
        seen.append({target.new_account().address, target.new_account().address})
        return look

    def thrice(look: Callable[[], Iterable[Diagnosis]], *, every: float) -> Iterator[Diagnosis]:
        del every
        for _ in range(2):
            yield from look()
        raise Interrupted(signal.SIGINT)

    monkeypatch.setattr(examination, "watch", thrice)
    monkeypatch.setattr(examination, "look_at", looking)
    assert main(["doctor", "--server", "reference", "--watch", "10m", "--only", "mail"]) == 130
    out = capsys.readouterr().out
    assert out.count("Sent: ") == 1
    assert len(seen) == 2
    assert seen[0] == seen[1] and len(seen[0]) == 2


def test_it_goes_on_until_it_is_interrupted():
    command = [*DC_HARNESS, "doctor", "--server", "reference", "--only", "turn", "--watch", "10s"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Sent: "):
                break
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in out + err
