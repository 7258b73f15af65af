"""docs/systemd: units that systemd understands, whose commands our programs understand."""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reference_server.iroh_relay.__main__ import _parser as relay_parser
from reference_server.mail.__main__ import _arguments as mail_parser

UNITS = Path(__file__).resolve().parents[1] / "docs" / "systemd"
PYTHON = "/opt/dc-harness/.venv/bin/python"


def settings(name: str) -> dict[str, list[str]]:
    """The settings of a unit file by `Section.Name`."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in (UNITS / name).read_text().replace("\\\n", " ").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(f"{section}.{key}", []).append(value)
    return found


def test_systemd_finds_nothing_wrong(tmp_path):
    """`systemd-analyze verify` wants the program to be there: ours is where this test runs."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("this machine has no systemd-analyze")
    for unit in UNITS.iterdir():
        (tmp_path / unit.name).write_text(unit.read_text().replace(PYTHON, sys.executable))
    verified = subprocess.run(
        [program, "verify", "--man=no", "--recursive-errors=no", *sorted(map(str, tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (verified.returncode, verified.stderr) == (0, "")


@pytest.mark.parametrize(
    ("unit", "module", "parser"),
    [
        ("dc-mail.service", "reference_server.mail", mail_parser),
        ("iroh-relay.service", "reference_server.iroh_relay", relay_parser),
    ],
)
def test_the_programs_understand_their_command_lines(unit, module, parser):
    [command] = settings(unit)["Service.ExecStart"]
    program, dash_m, name, *arguments = shlex.split(command)
    assert (program, dash_m, name) == (PYTHON, "-m", module)
    assert isinstance(parser().parse_args(arguments), argparse.Namespace)


def test_neither_service_depends_on_the_other():
    """IROH-8: the relay restarts without touching mail, and the other way round."""
    for unit, other in (("dc-mail.service", "iroh-relay"), ("iroh-relay.service", "dc-mail")):
        wishes = {
            key: value for key, value in settings(unit).items() if key.startswith(("Unit.", "Install."))
        }
        assert not [key for key, value in wishes.items() if other in " ".join(value)]
    [wanted] = settings("dc-server.target")["Unit.Wants"]
    assert set(wanted.split()) == {"dc-mail.service", "iroh-relay.service"}
    assert "Unit.Requires" not in settings("dc-server.target")


@pytest.mark.parametrize("unit", ["dc-mail.service", "iroh-relay.service", "dc-server.target"])
def test_every_unit_says_that_this_is_a_test_server(unit):
    assert "TEST server" in (UNITS / unit).read_text().splitlines()[0]
