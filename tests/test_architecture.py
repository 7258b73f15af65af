"""The picture in docs/architecture.md, as a test: who may import whom."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.doors.catalogue import all_checks

ROOT = Path(__file__).resolve().parent.parent
FORBIDDEN = {
    "harness": {"reference_server", "mutants", "tests", "benchmarks", "fuzz"},
    "reference_server": {"harness", "mutants", "tests", "benchmarks"},
    "mutants": {"harness", "tests", "benchmarks"},
    "mutants/deployments": {"tests", "benchmarks"},  # labs of harness, with a fault in them
    "scenarios": {"reference_server", "mutants"},
    "tests/deltachat-test": {"reference_server", "mutants"},
}


def imported_packages(file: Path) -> Iterator[str]:
    """The top-level packages that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("package", FORBIDDEN)
def test_arrows_run_downward_only(package):
    inner = [ROOT / each for each in FORBIDDEN if each.startswith(f"{package}/")]
    files = sorted(
        file for file in (ROOT / package).rglob("*.py") if not any(map(file.is_relative_to, inner))
    )
    assert files
    wrong = {
        f"{file.relative_to(ROOT)} imports {name}"
        for file in files
        for name in imported_packages(file)
        if name in FORBIDDEN[package]
    }
    assert not wrong


def test_the_walk_finds_a_forbidden_import(tmp_path):
    file = tmp_path / "sneaky.py"
    file.write_text("def f():\n    from reference_server.iroh_relay import frames\n")
    assert set(imported_packages(file)) & FORBIDDEN["harness"] == {"reference_server"}


def test_no_file_is_two_rooms():
    long = {
        str(file.relative_to(ROOT)): lines
        for package in (*FORBIDDEN, "benchmarks")
        for file in (ROOT / package).rglob("*.py")
        if (lines := len(file.read_text().splitlines())) > 500
    }
    assert not long


def test_every_check_has_a_door():
    """A check that no scenario opens is proven by nobody."""
    opened = {
        mark.args[0].name
        for file in sorted((ROOT / "scenarios").glob("test_*.py"))
        for test in vars(import_file(file)).values()
        for mark in getattr(test, "pytestmark", ())
        if mark.name == "dc_check"
    }
    assert opened == {check.name for check in all_checks()}


def import_file(file: Path):
    """As pytest imports it in mode importlib."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
