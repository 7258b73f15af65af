"""docs/add-a.md does what it says, outside the repository, with what others have installed."""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.network.namespace import program
from harness.network.preflight import preflight
from harness.report.records import Verdict, read_results

from .installed import ROOT, Installed

PAGE = (ROOT / "docs" / "add-a.md").read_text()
BLOCK = re.compile(
    r"<!-- (?P<how>new|append|replace|run)(?:: (?P<file>\S+))? -->\n```\w+\n(?P<text>.*?)```\n", re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """A piece of code of the page: something to do to a file, or commands to run."""

    how: str
    file: str
    text: str


def blocks(heading: str) -> list[Block]:
    """Those of one section."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert section, f"the page has no section {heading}"
    found = [Block(each["how"], each["file"] or "", each["text"]) for each in BLOCK.finditer(section)]
    assert found
    assert section.count("```") == 2 * len(found), "each piece of code says what to do with it"
    return found


class Workplace:
    """A directory outside the repository, with copies of what is installed: there the page is followed."""

    def __init__(self, installed: Installed, directory: Path) -> None:
        self._installed = installed
        self.directory = installed.copy(directory)
        shutil.copytree(ROOT / "scenarios", directory / "scenarios")

    def follow(self, *headings: str) -> str:
        """Write what these sections have written, run what they run, and give all that is printed."""
        steps = [block for heading in headings for block in blocks(heading)]
        for block in steps:
            if block.how != "run":
                self.write(block)
        return "".join(self.run(block.text) for block in steps if block.how == "run")

    def write(self, block: Block) -> None:
        file = self.directory / block.file
        if block.how == "new":
            assert not file.exists()
            file.write_text(block.text)
        elif block.how == "append":
            file.write_text(f"{file.read_text()}\n\n{block.text}")
        else:
            file.write_text(replaced(file.read_text(), block.text))

    def run(self, commands: str, *, code: int = 0, **environment: str) -> str:
        result = self._installed.run(
            *("sh", "-exc", commands), cwd=self.directory, PYTHONPATH=str(self.directory), **environment
        )
        assert result.returncode == code, result.stdout + result.stderr
        return result.stdout

    def verdicts(self, run: str = "run") -> Mapping[str, Verdict]:
        found = read_results(self.directory / run / "results.jsonl")
        return {each.check: each.verdict for each in found.records}


def replaced(source: str, text: str) -> str:
    """The source with the text's imports, and its function in place of the one of that name."""
    *imports, function = ast.parse(text).body
    assert isinstance(function, ast.FunctionDef)
    [old] = [
        each
        for each in ast.parse(source).body
        if isinstance(each, ast.FunctionDef) and each.name == function.name
    ]
    last = max(each.end_lineno or 0 for each in ast.parse(source).body if isinstance(each, ast.ImportFrom))
    lines, new = source.splitlines(), text.splitlines()
    lines[old.lineno - 1 : old.end_lineno] = new[function.lineno - 1 :]
    lines[last:last] = [ast.unparse(each) for each in imports]
    return "\n".join(lines) + "\n"


@pytest.fixture
def workplace(installed: Installed, tmp_path: Path) -> Workplace:
    return Workplace(installed, tmp_path)


def test_it_is_the_wheel_that_is_tried(workplace):
    said = workplace.run("python -c 'import harness, reference_server; print(harness.__file__)'")
    assert said.startswith(str(workplace.directory))


def test_a_check_in_a_project_of_ones_own(installed, tmp_path):
    preflight().require("netns", "capture")
    *files, run = blocks("A check in your own project")
    for block in files:
        (tmp_path / block.file).write_text(block.text)
    result = installed.run("sh", "-exc", run.text, cwd=tmp_path)
    assert "2 passed" in result.stdout, result.stdout + result.stderr
    assert "test_my_server.imap_has_idle" in next(tmp_path.glob("reports/runs/*/results.jsonl")).read_text()


def test_a_check_with_its_scenario_and_its_mutant(workplace):
    said = workplace.follow("A check in an existing room", "A mutant")
    assert re.search(r"^passed +mail\.idle_is_announced ", said, re.MULTILINE), said
    assert "1 passed" in said
    assert "idle_capability_missing" in said
    assert "CAPABILITY after login has IDLE" in workplace.run("dc-harness list mail.idle_is_announced")


def test_a_check_that_does_not_notice_its_mutant_is_told(workplace):
    """The control: the same mutant, said to be noticed by a check that looks elsewhere."""
    for block in blocks("A mutant"):
        if block.how == "append":
            text = block.text.replace("mail.idle_is_announced", "mail.mailboxes_are_private")
            workplace.write(Block("append", block.file, text))
    said = workplace.run(
        "dc-harness mutants mail.mailboxes_are_private --mutant idle_capability_missing", code=1
    )
    assert "idle_capability_missing" in said


def test_a_server_in_two_files(workplace):
    program("turnserver")
    assert "2 passed" in workplace.follow("A server")


def test_a_server_that_starts_with_another_secret_is_red(workplace):
    """The control of the server."""
    program("turnserver")
    for block in blocks("A server"):
        if block.how == "new":
            text = block.text.replace('"$TURN_SECRET"', '"another"')
            workplace.write(Block("new", block.file, text))
    command = next(each.text for each in blocks("A server") if each.how == "run").rstrip()
    workplace.run(f"{command} --out run", code=1)
    assert workplace.verdicts()["turn.turn_is_offered"] is Verdict.PASSED
    assert workplace.verdicts()["turn.turn_allocates_with_offered_credentials"] is Verdict.FAILED
    assert "401" in (workplace.directory / "run" / "results.jsonl").read_text()


def test_a_client_version(workplace):
    said = workplace.follow("A client version")
    assert re.search(r"^passed +realtime\.two_devices_exchange_messages ", said, re.MULTILINE), said


def test_a_nat_profile(workplace):
    preflight().require("netns", "nft")
    workplace.follow("A NAT profile")


def test_a_nat_profile_that_is_not_what_it_says_is_told(workplace):
    """The control of the profile."""
    preflight().require("netns", "nft")
    [edit, run] = blocks("A NAT profile")
    wrong = edit.text.replace(
        "Nat(BY_ADDRESS_AND_PORT, BY_ADDRESS),\n)",
        "Nat(BY_ADDRESS_AND_PORT, BY_ADDRESS),\n)\nHOTEL = replace(HOTEL, ipv4=OPEN)",
    )
    assert wrong != edit.text
    workplace.write(Block(edit.how, edit.file, wrong))
    workplace.run(run.text, code=1)


def test_a_table_in_the_report(workplace):
    said = workplace.follow("A table in the report")
    assert re.search(r"## Slowest checks\n\n.*\n.*\n\| turn\.turn_is_offered \| \d", said), said


def test_the_page_has_a_section_for_each_line_of_its_table():
    linked = re.findall(r"^\| \[.*?\]\(#([\w-]+)\) \|", PAGE, re.MULTILINE)
    sections = [
        heading.lower().replace(" ", "-").replace(",", "")
        for heading in re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    ]
    assert sorted(linked) == sorted(sections)


@pytest.mark.parametrize(
    ("heading", "files"), [("A mutant", 1), ("A server", 2), ("A table in the report", 2)]
)
def test_the_numbers_of_files_are_true(heading, files):
    assert len({block.file for block in blocks(heading) if block.how != "run"}) == files
