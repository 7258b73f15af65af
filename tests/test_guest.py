"""The installed wheel as a guest in somebody else's project: its tests are run as if it were not there."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.network.preflight import Level, preflight

from .installed import Installed, as_ordinary_user

CONFTEST = """
import pytest
{plugin}

def pytest_addoption(parser):
    parser.addoption("--target", default="staging")
    parser.addoption("--domain", default="their.example")

@pytest.fixture
def host():
    return "their host"

@pytest.fixture
def target(request):
    return request.config.getoption("--target")

@pytest.fixture
def devices():
    return ["their device"]

@pytest.fixture
def labs():
    return "their labs"
"""
ASKED = 'pytest_plugins = ["harness.doors.pytest_plugin"]'
OWN_TESTS = """
import os
from pathlib import Path

def test_fixtures_are_their_own(host, target, devices, labs, request):
    assert (host, target, devices, labs) == ("their host", "production", ["their device"], "their labs")
    assert request.config.getoption("--domain") == "their.example"

def test_the_user_is_the_same():
    assert os.getuid() == int(os.environ["THEIR_UID"])
    assert os.readlink("/proc/self/ns/user") == os.environ["THEIR_NAMESPACE"]
    assert os.readlink("/proc/self/ns/net") == os.environ["THEIR_NETWORK"]
"""
ON_A_SERVER = """
from harness.checks import turn
from harness.doors.scenario import scenario

test_turn = scenario(turn.turn_is_offered)

def test_a_stage(dc_stage):
    assert str(dc_stage.own_turn().host) == dc_stage.target.host
"""
IN_A_LAB = """
from harness.network import profiles
from harness.network.profiles import HOME

def test_a_lab(dc_lab, host):
    assert host == "their host"
    device = dc_lab.network.device("alice", HOME)
    with device.connect(dc_lab.target.host, dc_lab.target.imaps, within=10) as connection:
        assert connection.getpeername()[0] == dc_lab.machine.address
"""


@pytest.fixture
def project() -> Iterator[Path]:
    """A directory of somebody else's, which they may write to."""
    with tempfile.TemporaryDirectory(prefix="their-project-") as name:
        directory = Path(name) / "project"
        directory.mkdir()
        (Path(name) / "home").mkdir()
        (Path(name) / "scratch").mkdir()
        (directory / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers --strict-config\n")
        (directory / "test_own.py").write_text(OWN_TESTS)
        for each in (Path(name), *Path(name).rglob("*")):
            each.chmod(0o777 if each.is_dir() else 0o666)
        yield directory


class Guest:
    """Runs pytest in the project, as an ordinary user."""

    def __init__(self, installed: Installed, project: Path) -> None:
        self._installed, self._project = installed, project
        self.home = project.parent / "home"

    def pytest(self, *arguments: str, plugin: str = "", as_root: bool = False) -> str:
        """All that it prints, with its exit code in the last line."""
        (self._project / "conftest.py").write_text(CONFTEST.format(plugin=plugin))
        user = [] if as_root else as_ordinary_user(self._project.parent / "scratch")
        result = self._installed.run(
            *(self._installed.python, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider"),
            *("--target", "production", *arguments),
            cwd=self._project,
            as_user=user,
            HOME=str(self.home),
            USER="nobody",
            LOGNAME="nobody",
            THEIR_UID="65534" if user else str(os.getuid()),
            THEIR_NETWORK=str(Path("/proc/self/ns/net").readlink()),
            THEIR_NAMESPACE=str(Path("/proc/self/ns/user").readlink()),
        )
        return f"{result.stdout}{result.stderr}\nexit code {result.returncode}"

    def files(self) -> set[str]:
        """All that lies in the project and in the user's home."""
        return {str(each) for root in (self._project, self.home) for each in root.rglob("*")}


@pytest.fixture
def guest(installed: Installed, project: Path) -> Guest:
    return Guest(installed, project)


@pytest.mark.parametrize("plugin", ["", ASKED], ids=["installed", "asked for"])
def test_their_tests_run_unchanged_as_the_same_user_and_leave_no_file(plugin, guest):
    guest.pytest("--collect-only", plugin=plugin)
    before = guest.files()
    said = guest.pytest(plugin=plugin)
    assert "2 passed" in said, said
    assert said.endswith("exit code 0")
    assert "dc-harness" not in said
    assert guest.files() == before


def test_what_is_added_bears_our_name_and_is_added_only_where_asked_for(guest):
    """`--help --fixtures` would print the help alone, so pytest is asked twice."""
    options, fixtures = (
        [_named(guest.pytest(ask, plugin=plugin), pattern) for plugin in ("", ASKED)]
        for ask, pattern in (("--help", r"^  (--[\w-]+)"), ("--fixtures", r"^(\w+)(?: \[\w+ scope\])? -- "))
    )
    assert fixtures[1] - fixtures[0] == {"dc_stage", "dc_lab"}
    ours = options[1] - options[0]
    assert "--dc-server" in ours
    assert {each for each in ours if not each.startswith("--dc-")} == set()
    assert options[0] <= options[1]


def _named(text: str, pattern: str) -> set[str]:
    return set(re.findall(pattern, text, re.MULTILINE))


def test_a_server_for_one_test_changes_nothing_for_the_others(guest, project):
    (project / "test_a_server.py").write_text(ON_A_SERVER)  # before theirs, by name
    said = guest.pytest(plugin=ASKED)
    assert "4 passed" in said, said
    assert "results in reports/runs/" in said
    assert (project / "reports").is_dir()


def test_they_have_a_lab_with_one_line(guest, project):
    (project / "test_lab.py").write_text(IN_A_LAB)
    said = guest.pytest("test_lab.py", plugin=ASKED)
    expected = "1 passed" if preflight().level is not Level.LOOPBACK else "1 skipped"
    assert expected in said, said
    assert said.endswith("exit code 0")


def test_they_have_a_lab_in_workers(guest, project):
    (project / "test_lab.py").write_text(IN_A_LAB)
    (project / "pytest.ini").write_text("[pytest]\ndc_labs = true\n")
    said = guest.pytest("-n", "2", "test_lab.py", plugin=ASKED)
    assert ("1 passed" if preflight().level is not Level.LOOPBACK else "1 skipped") in said, said


def test_a_lab_that_cannot_be_had_is_skipped_with_what_heals_it(guest, project):
    """A worker of xdist has threads, so that an ordinary user cannot enter a namespace in it."""
    if preflight().level is not Level.USERNS and os.geteuid() != 0:
        pytest.skip("this user needs no namespace for a lab, or may have none")
    (project / "test_lab.py").write_text(IN_A_LAB)
    said = guest.pytest("-n", "2", "test_lab.py", plugin=ASKED)
    assert "1 skipped" in said, said
    assert "dc_labs" in said
    assert said.endswith("exit code 0")


def test_a_wrong_option_of_ours_is_one_sentence(guest):
    said = guest.pytest("--dc-server", "cotrun", plugin=ASKED)
    assert "there is no server 'cotrun'" in said, said
    assert "Traceback" not in said
    assert said.endswith("exit code 4")


def test_a_server_that_does_not_start_is_one_sentence(guest, project):
    (project / "test_a_server.py").write_text(ON_A_SERVER)
    said = guest.pytest(
        "--dc-server", "reference+iroh-relay=/nowhere/relay", "test_a_server.py", plugin=ASKED
    )
    assert "relay does not start: there is no program /nowhere/relay" in said, said
    assert "Traceback" not in said
    assert "pytest_plugin.py" not in said
