"""`cmping` and `cmsend` of PyPI on two reference servers in a lab; `CHATMAIL_TOOLS` names the directory of both.

They bring a core of their own, which is to be asked in a network without a way out.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.hosts import end_process
from harness.report.run import Run
from harness.servers.registry import server_of
from harness.stage.lab import LabStage
from harness.stage.options import Choice
from harness.stage.session import open_session
from harness.steps.federation import federation

TOOLS = "CHATMAIL_TOOLS"
DEADLINE = 90.0
pytestmark = pytest.mark.skipif(TOOLS not in os.environ, reason=f"capability chatmail_tools: set {TOOLS}")


def said(lab: LabStage, home: Path, tool: str, *words: str) -> str:
    """All that a tool says on the machine of a server, where it ends well."""
    output = home / f"{tool}.log"
    directory = Path(os.environ[TOOLS]).resolve()
    environment = {**os.environ, "HOME": str(home), "PATH": f"{directory}:{os.environ['PATH']}"}
    with output.open("wb") as file:
        process = lab.machine.start_program(
            [directory / tool, *words], stdout=file, stderr=file, env=environment, cwd=home
        )
        try:
            assert process.wait(DEADLINE) == 0, output.read_text()
        finally:
            end_process(process, patience=5)
    return output.read_text()


def test_tools_of_others_work_between_two_servers(tmp_path: Path) -> None:
    with open_session(Run(tmp_path / "run"), Choice(kind=server_of("reference"))) as session:
        stage = session.stage("federation")
        if "lab" not in stage.capabilities:
            pytest.skip(stage.explain_missing("lab"))
        with federation(stage, "one", "two", named=True) as (one, two):
            pings = said(one, tmp_path, "cmping", "-c", "3", one.target.domain, two.target.domain)
            assert "0.00% loss" in pings, pings
            assert "creating profile" in said(one, tmp_path, "cmsend", "--init", one.target.domain)
