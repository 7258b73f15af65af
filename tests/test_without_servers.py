"""The wheel without our server: whoever tests servers of others needs none of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.hosts import LocalHost
from harness.servers.endpoints import read_endpoints
from harness.servers.reference import Reference
from harness.servers.server import Wants
from harness.stage.session import loopback_place

from .installed import Installed

DC_HARNESS = ("-c", "import sys; from harness.doors.cli import main; sys.exit(main())")
PASSED, FAILED, NOTHING_RAN = 0, 1, 5


@pytest.fixture(scope="module")
def bare(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return installed.without_servers(tmp_path_factory.mktemp("without-servers"))


@pytest.fixture(scope="module")
def ready_line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Of a server that somebody else runs."""
    directory = tmp_path_factory.mktemp("server")
    place = loopback_place(directory / "state", directory / "logs")
    with Reference().start(LocalHost(), place, Wants()):
        endpoints = dict(read_endpoints(place.logs / "reference.stdout.log"))
        del endpoints["control"]
        file = directory / "ready.json"
        file.write_text(json.dumps({"ready": True, "endpoints": endpoints}))
        yield file


def dc_harness(bare: Installed, directory: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return bare.run(bare.python, *DC_HARNESS, *words, cwd=directory)


def test_a_server_that_runs_elsewhere_is_tested(bare, ready_line, tmp_path):
    checks = (
        "discovery.*",
        "mail.unencrypted_mail_is_refused",
        "turn.turn_allocates_with_offered_credentials",
    )
    ran = dc_harness(bare, tmp_path, "check", *checks, "--endpoints", ready_line, "--out", "out")
    assert ran.returncode == PASSED, ran.stdout + ran.stderr
    assert "4 passed" in ran.stdout


@pytest.mark.parametrize(
    ("words", "package", "code"),
    [
        (("check", "--server", "reference", "tls.*"), "reference_server", NOTHING_RAN),
        (("serve",), "reference_server", FAILED),
        (("mutants",), "mutants", NOTHING_RAN),
    ],
)
def test_our_own_is_said_to_be_missing_in_one_sentence(bare, tmp_path, words, package, code):
    ran = dc_harness(bare, tmp_path, *words)
    assert ran.returncode == code, ran.stdout + ran.stderr
    said = " ".join((ran.stdout + ran.stderr).split())
    assert f"capability {package}: this package is not installed: pip install" in said
    assert "Traceback" not in said
