"""docs/systemd: units that systemd understands, whose commands our programs understand."""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reference_server.iroh_relay.__main__ import PARSER as RELAY
from reference_server.mail.__main__ import PARSER as MAIL
from reference_server.mail.settings import MailSettings
from reference_server.options import read_options
from reference_server.turn.__main__ import PARSER as TURN
from reference_server.turn.settings import TurnSettings

UNITS = Path(__file__).resolve().parents[1] / "docs" / "systemd"
SERVICES = ("dc-mail.service", "iroh-relay.service", "dc-turn.service")
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
        ("dc-mail.service", "reference_server.mail", MAIL),
        ("iroh-relay.service", "reference_server.iroh_relay", RELAY),
        ("dc-turn.service", "reference_server.turn", TURN),
    ],
)
def test_the_programs_understand_their_command_lines(unit, module, parser):
    [command] = settings(unit)["Service.ExecStart"]
    program, dash_m, name, *arguments = shlex.split(command)
    assert (program, dash_m, name) == (PYTHON, "-m", module)
    assert isinstance(parser.parse_args(arguments), argparse.Namespace)


def test_no_service_depends_on_another():
    """IROH-8: the relay restarts without touching mail, and the other way round; so does TURN."""
    for unit in SERVICES:
        wishes = {
            key: value for key, value in settings(unit).items() if key.startswith(("Unit.", "Install."))
        }
        others = [other.removesuffix(".service") for other in SERVICES if other != unit]
        assert not [key for key, value in wishes.items() if any(other in " ".join(value) for other in others)]
    [wanted] = settings("dc-server.target")["Unit.Wants"]
    assert set(wanted.split()) == set(SERVICES)
    assert "Unit.Requires" not in settings("dc-server.target")


@pytest.mark.parametrize("unit", [*SERVICES, "dc-server.target"])
def test_every_unit_says_that_this_is_a_test_server(unit):
    assert "TEST server" in (UNITS / unit).read_text().splitlines()[0]


def test_mail_and_turn_share_secret_and_address():
    mail, turn = settings("dc-mail.service"), settings("dc-turn.service")
    assert mail["Service.LoadCredential"] == turn["Service.LoadCredential"]
    assert mail["Service.Environment"] == turn["Service.Environment"]

    def told(unit, parser, kind):
        [command] = unit["Service.ExecStart"]
        arguments = shlex.split(command.replace("${DC_HOST}", "192.0.2.1"))[3:]
        return read_options(kind, parser.parse_args(arguments))

    of_mail, of_turn = told(mail, MAIL, MailSettings), told(turn, TURN, TurnSettings)
    assert f"udp://{of_mail.turn_address}" in map(str, of_turn.listeners)
    assert of_turn.realm == of_mail.domain
