"""docs/in-your-ci.md, and what it offers to others: steps are run as they stand there, with an installed wheel."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.report.interop import Decision, interop
from harness.report.records import read_results

from .installed import ROOT, Installed

installed_once = pytest.mark.xdist_group("installed")

WORKFLOW = ROOT / ".github" / "workflows" / "interop.yml"
GITLAB = ROOT / "ci" / "gitlab.yml"
PAGE = (ROOT / "docs" / "in-your-ci.md").read_text()
BLOCK = re.compile(r"<!-- (new|run)(?:: (\S+))? -->\n```\w+\n(.*?)```\n", re.DOTALL)
SHARDS = ("1", "2")
RECORDER = '#!/bin/sh\nprintf \'%s\\n\' "$0 $*" >> "$CALLS"\n'


def write_files(directory: Path) -> str:
    """Write the files of the page, and give what it runs."""
    for _how, name, text in BLOCK.findall(PAGE):
        if name:
            (directory / name).write_text(text)
    [command] = [text for how, _name, text in BLOCK.findall(PAGE) if how == "run"]
    return str(command)


def step(job: str, name: str) -> str:
    """Commands of one step of the workflow."""
    workflow: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text())
    [found] = [each["run"] for each in workflow["jobs"][job]["steps"] if each.get("name") == name]
    return str(found)


def bash(
    installed: Installed, commands: str, cwd: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """As a runner does it."""
    return installed.run("bash", "-eo", "pipefail", "-c", commands, cwd=cwd, **environment)


@installed_once
def test_the_tests_of_the_page_pass_with_an_installed_wheel(installed, tmp_path):
    command = write_files(tmp_path)
    result = installed.run("sh", "-exc", command, cwd=tmp_path)
    assert "7 passed" in result.stdout, result.stdout + result.stderr


@installed_once
def test_the_steps_of_the_workflow_make_one_matrix_of_two_shards(installed, tmp_path):
    write_files(tmp_path)
    runner = {"RUNNER_TEMP": str(tmp_path), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
    (tmp_path / "dc-harness").symlink_to(installed.python.parent.parent)
    shards = tmp_path / "shards"
    shards.mkdir()
    for number in SHARDS:
        of = {"REGISTRY": "interop.toml", "SHARD": number, "OF": "2", "OPTIONS": "--jobs 2"}
        result = bash(installed, step("shard", "shard"), tmp_path, **runner, **of)
        assert result.returncode == 0, result.stdout + result.stderr
        shutil.move(tmp_path / f"shard-{number}", shards)
    result = bash(installed, step("matrix", "merge"), tmp_path, **runner)
    assert result.returncode == 0, result.stdout + result.stderr
    found = interop(read_results(tmp_path / "matrix" / "results.jsonl").records)
    assert found is not None
    assert (found.decision, len(found.places), found.missing_shards) == (Decision.OK, 2, ())
    assert (tmp_path / "summary").read_text().startswith("# OK: matrix\n")
    assert (tmp_path / "matrix" / "matrix.html").is_file()


@pytest.mark.parametrize(("namespaces", "with_sudo"), [("exit 0", False), ("exit 1", True)])
def test_a_shard_runs_with_sudo_where_user_namespaces_are_forbidden(namespaces, with_sudo, tmp_path):
    programs = tmp_path / "programs"
    programs.mkdir()
    texts = {"unshare": f"#!/bin/sh\n{namespaces}\n", "sudo": RECORDER, "dc-harness/bin/dc-harness": RECORDER}
    for name, text in texts.items():
        file = programs / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    calls = tmp_path / "calls"
    environment = {
        "PATH": f"{programs}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "RUNNER_TEMP": str(programs),
        "CALLS": str(calls),
        **{"REGISTRY": "interop.toml", "SHARD": "2", "OF": "3", "OPTIONS": "--repeat 2"},
    }
    subprocess.run(["bash", "-eo", "pipefail", "-c", step("shard", "shard")], check=True, env=environment)
    [first, *others] = calls.read_text().splitlines()
    assert first.endswith("dc-harness matrix interop.toml --shard 2/3 --out shard-2 --repeat 2")
    assert ("/sudo " in first) is with_sudo
    assert any("chown -R" in each for each in others) is with_sudo


@pytest.mark.parametrize(
    ("job", "wanted"), [("interop", "dc-harness matrix"), ("interop-page", "report merge")]
)
def test_the_commands_of_gitlab_are_those_of_dc_harness(job, wanted, tmp_path):
    template: dict[str, Any] = yaml.safe_load(GITLAB.read_text())
    [command] = template[job]["script"]
    for number in SHARDS:
        (tmp_path / f"shard-{number}").mkdir()
    program = tmp_path / "dc-harness"
    program.write_text(RECORDER)
    program.chmod(0o755)
    environment = {key: str(value) for key, value in template["variables"].items() if key.startswith("DC_")}
    environment |= {"CI_NODE_INDEX": "2", "CI_NODE_TOTAL": "3", "CALLS": str(tmp_path / "calls")}
    environment["PATH"] = f"{tmp_path}:/usr/bin:/bin"
    subprocess.run(["sh", "-e", "-c", command], check=True, env=environment, cwd=tmp_path)
    said = (tmp_path / "calls").read_text().partition(" ")[2].strip()
    assert said in (
        "matrix interop.toml --shard 2/3 --out shard-2",
        "report merge shard-1 shard-2 --out matrix",
    )
    assert wanted.split()[-1] in said


def test_the_workflow_is_one_that_github_understands():
    actionlint = shutil.which("actionlint")
    if actionlint is None:
        pytest.skip("no actionlint: go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.7")
    result = subprocess.run([actionlint, WORKFLOW], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_the_image_has_what_the_wheel_is_made_of():
    copied = set(re.findall(r"^COPY (.*) \S+$", (ROOT / "Containerfile").read_text(), re.MULTILINE))
    sources = {name for line in copied for name in line.split()}
    assert sources >= {"pyproject.toml", "README.md", "LICENSE", "harness", "reference_server", "mutants"}
    assert all((ROOT / name).exists() for name in sources)
