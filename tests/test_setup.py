"""`./setup` with made-up python3, uv, apt-get and sudo on its PATH: what it does when, and what it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOLS = (
    "bash",
    "sh",
    "cat",
    "cksum",
    "cmp",
    "cp",
    "dirname",
    "basename",
    "env",
    "find",
    "head",
    "mkdir",
    "mktemp",
)
MORE_TOOLS = ("mv", "rm", "sleep", "touch", "tr")
"""All that it may use of a machine."""
PROGRAMS = {
    "nftables": "nft",
    "conntrack": "conntrack",
    "iptables": "iptables-nft",
    "tayga": "tayga",
    "coturn": "turnserver",
}
LAST_LINE = "This machine can prove: a lot\n"

PYTHON = f"""#!/bin/sh
case "$*" in
    "-c import fcntl"*) exec {sys.executable} "$@" ;;
    "-c import sys"*) exit ${{WRONG_VERSION:-0}} ;;
    "-m pip --version") exit 0 ;;
    "-m compileall -q harness reference_server mutants") touch compiled; exit ;;
    "-P -m harness.doors.machine") printf '{LAST_LINE[:-1]}\\n'; exit ;;
esac
echo "python $*" >> "$CALLS"
[ "$FAILS" != "$2" ] || {{ echo "no $2 here"; exit 1; }}
case "$*" in
    "-m venv --clear .venv")
        rm -rf .venv
        mkdir -p .venv/bin .venv/lib/python3.11/site-packages/pip-1.dist-info
        touch .venv/pyvenv.cfg
        cp "$MADE_UP/python3" .venv/bin/python ;;
    "-m pip install"*) cp "$MADE_UP/uv" .venv/bin/uv ;;
esac
"""
UV = """#!/bin/sh
echo "uv $*" >> "$CALLS"
[ "$FAILS" != sync ] || { echo "the lock file is not up to date"; exit 1; }
mkdir -p .venv/lib/python3.11/site-packages/pytest-8.dist-info
"""
APT_GET = """#!/bin/sh
echo "apt-get $*" >> "$CALLS"
for package; do :; done
[ "$package" != tayga ] || { echo "Unable to locate package tayga"; exit 100; }
[ "$1" != install ] || { sleep 60 & echo $! >> "$CALLS.daemons"; }
case $package in
    nftables) program=nft ;;
    iptables) program=iptables-nft ;;
    coturn) program=turnserver ;;
    dovecot-*) program=dovecot ;;
    *) program=$package ;;
esac
[ "$1" != install ] || cp "$MADE_UP/uv" "$PROGRAMS/$program"
"""
"""It starts a service that lives on, as packages do."""
SUDO = """#!/bin/sh
[ "$MAY_SUDO" = yes ] || { echo "sudo: a password is required" >&2; exit 1; }
shift
[ "$1" = true ] || echo "sudo" >> "$CALLS"
"$@"
"""


class Machine:
    """A checkout and a PATH of its own."""

    def __init__(self, directory: Path) -> None:
        self.checkout = directory / "a check out"
        self.checkout.mkdir()
        self.made_up, self.sbin = directory / "bin", directory / "sbin"
        self.made_up.mkdir()
        self.sbin.mkdir()
        self.calls_file = directory / "calls"
        for name in ("uv.lock", "pyproject.toml"):
            (self.checkout / name).write_text("1\n")
        text = (ROOT / "setup").read_text()
        assert text.count("/usr/sbin:/sbin") == 1
        self.program = self.checkout / "setup"
        self.program.write_text(text.replace("/usr/sbin:/sbin", str(self.sbin)))
        self.program.chmod(0o755)
        for tool in (*TOOLS, *MORE_TOOLS):
            (self.made_up / tool).symlink_to(shutil.which(tool) or tool)
        for name, script in {"python3": PYTHON, "uv": UV, "id": "#!/bin/sh\necho ${USER_ID:-0}\n"}.items():
            self.add(name, script)
        (self.made_up / "uv").rename(directory / "uv")  # a machine has none, pip brings it
        shutil.copy(self.made_up / "python3", directory / "python3")
        self.directory = directory

    def add(self, name: str, script: str) -> None:
        (self.made_up / name).write_text(script)
        (self.made_up / name).chmod(0o755)

    def has_programs(self) -> None:
        for name in PROGRAMS.values():
            (self.sbin / name).write_text("#!/bin/sh\n")
            (self.sbin / name).chmod(0o755)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.program, *arguments],
            cwd="/",
            env={
                "PATH": str(self.made_up),
                "CALLS": str(self.calls_file),
                "MADE_UP": str(self.directory),
                "PROGRAMS": str(self.sbin),
                "FAILS": "",
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **environment: str) -> tuple[int, str, list[str]]:
        """Exit code, what was said, and what was called meanwhile."""
        self.calls_file.unlink(missing_ok=True)
        with self.start(*arguments, **environment) as process:
            out, said = process.communicate(timeout=50)
        assert out == (LAST_LINE if process.returncode == 0 else "")
        return process.returncode, said, self.calls()

    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    daemons = Path(f"{made.calls_file}.daemons")
    for pid in daemons.read_text().split() if daemons.exists() else ():
        os.kill(int(pid), 9)


VENV = [
    "python -m venv --clear .venv",
    "python -m pip install -q --disable-pip-version-check uv",
    "uv sync -q --locked --compile-bytecode --python .venv/bin/python",
]


def test_a_second_run_does_nothing(machine):
    machine.has_programs()
    assert machine.run() == (0, machine_said(machine, VENV), VENV)
    assert machine.run() == (0, "", [])


def test_each_run_compiles_what_changed_since(machine):
    machine.has_programs()
    machine.run()
    (machine.checkout / "compiled").unlink()
    machine.run()
    assert (machine.checkout / "compiled").exists()


def machine_said(machine: Machine, calls: list[str]) -> str:
    lines = {
        VENV[0]: f"making .venv with {machine.made_up / 'python3'}",
        VENV[1]: "installing uv",
        VENV[2]: "installing what uv.lock names",
    }
    return "".join(f"setup: {lines[each]}\n" for each in calls)


@pytest.mark.parametrize(
    "change",
    ["echo 2 > uv.lock", "echo 2 > pyproject.toml", "rm -r .venv/lib/python3.11/site-packages/pytest*"],
)
def test_what_was_changed_is_installed_again(machine, change):
    machine.has_programs()
    machine.run()
    subprocess.run(change, shell=True, cwd=machine.checkout, check=True)
    assert machine.run()[2] == VENV[2:]
    assert machine.run()[2] == []


def test_a_checkout_that_was_moved_gets_another_environment(machine):
    machine.has_programs()
    machine.run()
    machine.checkout = machine.checkout.rename(machine.checkout.with_name("else where"))
    machine.program = machine.checkout / "setup"
    assert machine.run()[2] == VENV
    assert machine.run()[2] == []


def test_root_gets_what_apt_has_and_what_it_lacks_costs_nothing(machine):
    machine.add("apt-get", APT_GET)
    APT = "apt-get install -y -qq"
    code, said, calls = machine.run()
    assert code == 0
    assert calls[3:] == ["apt-get update -qq", *(f"{APT} {each}" for each in PROGRAMS)]
    assert "setup: cannot be had: tayga\n" in said
    assert "Unable to locate package tayga" in said
    assert machine.run() == (0, "", [])


def test_further_servers_come_where_they_are_asked_for(machine):
    machine.has_programs()
    machine.add("apt-get", APT_GET)
    assert "apt-get update -qq" not in machine.run()[2]
    wanted = ["dovecot-imapd", "dovecot-lmtpd", "nginx", "faketime"]
    wanted += ["curl", "swaks", "msmtp", "isync", "s-nail"]
    wanted += ["offlineimap3", "getmail6", "fetchmail"]
    calls = machine.run("--servers")[2]
    assert calls == ["apt-get update -qq", *(f"apt-get install -y -qq {each}" for each in wanted)]


NPM = """#!/bin/sh
echo "npm $*" >> "$CALLS"
[ "$FAILS" != ci ] || { echo "no registry here"; exit 1; }
mkdir -p "$3/node_modules"
"""


@pytest.fixture
def with_npm(machine):
    machine.has_programs()
    for name in ("chromium", "chromedriver", "certutil"):
        machine.add(name, "#!/bin/sh\n")
    machine.add("npm", NPM)
    shutil.copytree(ROOT / "harness/clients/browser/ui", machine.checkout / "harness/clients/browser/ui")
    machine.run()
    return machine


def test_the_call_ui_is_fetched_once_where_it_is_asked_for(with_npm, tmp_path):
    place = tmp_path / "cache/dc-harness/call-ui"
    fetched = [f"npm ci --prefix {place} --ignore-scripts --no-audit --no-fund"]
    assert with_npm.run(XDG_CACHE_HOME=str(tmp_path / "cache"))[2] == []
    assert with_npm.run("--browser", XDG_CACHE_HOME=str(tmp_path / "cache"))[2] == fetched
    assert (place / "package-lock.json").read_text().count('"integrity": "sha512-') == 2
    assert with_npm.run("--browser", XDG_CACHE_HOME=str(tmp_path / "cache"))[2] == []


def test_what_npm_cannot_fetch_costs_nothing_else(with_npm, tmp_path):
    for _ in range(2):
        code, said, calls = with_npm.run("--browser", FAILS="ci", HOME=str(tmp_path))
        assert (code, len(calls)) == (0, 1)
        assert said.endswith("no registry here\nsetup: cannot be had: Delta Chat's call UI\n")


def test_another_argument_is_a_usage_error(machine):
    code, said, calls = machine.run("--server")
    assert (code, said, calls) == (2, "setup: usage: ./setup [--servers] [--browser]\n", [])


def test_what_apt_lacks_is_not_asked_for_again_on_that_day(machine):
    machine.has_programs()
    (machine.sbin / "tayga").unlink()
    machine.add("apt-get", APT_GET)
    assert machine.run()[2][3:] == ["apt-get update -qq", "apt-get install -y -qq tayga"]
    assert machine.run() == (0, "", [])
    yesterday = (machine.checkout / ".venv/not-in-apt").stat().st_mtime - 2 * 86400
    os.utime(machine.checkout / ".venv/not-in-apt", (yesterday, yesterday))
    assert machine.run()[2] == ["apt-get update -qq", "apt-get install -y -qq tayga"]


def test_a_user_who_may_sudo_without_a_password_gets_it_so(machine):
    machine.has_programs()
    (machine.sbin / "nft").unlink()
    machine.add("apt-get", APT_GET)
    machine.add("sudo", SUDO)
    calls = machine.run(USER_ID="1000", MAY_SUDO="yes")[2]
    assert calls[3:] == ["sudo", "apt-get update -qq", "sudo", "apt-get install -y -qq nftables"]


@pytest.mark.parametrize("with_sudo", [True, False])
def test_another_user_is_told_the_one_line_to_type(machine, with_sudo):
    machine.add("apt-get", APT_GET)
    if with_sudo:
        machine.add("sudo", SUDO)
    code, said, calls = machine.run(USER_ID="1000")
    assert (code, calls) == (0, VENV)
    line = "setup: to have all of it, type: sudo apt-get install nftables conntrack iptables tayga coturn\n"
    assert said.endswith(line)
    assert machine.run(USER_ID="1000") == (0, line, [])


def test_a_machine_without_apt_is_told_what_is_missing(machine):
    code, said, _calls = machine.run()
    assert code == 0
    assert "there is no apt-get: nftables conntrack iptables tayga coturn" in said


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        (
            {"WRONG_VERSION": "1"},
            "there is no Python 3.11, 3.12 or 3.13: apt-get install python3 python3-venv",
        ),
        ({"FAILS": "venv"}, "cannot make .venv: on Debian, python3 needs: apt-get install python3-venv"),
        ({"FAILS": "pip"}, "cannot install uv: is there a network, or a package index in PIP_INDEX_URL?"),
        ({"FAILS": "sync"}, "cannot install what uv.lock names; the words above are uv's"),
    ],
)
def test_what_cannot_be_done_is_said_and_the_next_run_heals_it(machine, environment, sentence):
    if environment.get("FAILS") == "pip":
        script = (machine.directory / "python3").read_text().replace('!= "$2"', '!= "$2$3"')
        (machine.directory / "python3").write_text(script)
        environment = {"FAILS": "pipinstall"}
    machine.has_programs()
    code, said, _calls = machine.run(**environment)
    assert code == 1
    assert said.splitlines()[-1] == f"setup: {sentence}"
    assert not re.search(r"Traceback|line \d+:", said)
    assert machine.run()[0] == 0
    assert machine.run() == (0, "", [])


def test_two_at_once_set_up_once(machine):
    machine.has_programs()
    with machine.start() as one, machine.start() as other:
        said = sorted(each.communicate(timeout=50)[1] for each in (one, other))
    assert (one.returncode, other.returncode) == (0, 0)
    assert machine.calls() == VENV
    assert machine_said(machine, VENV) in said


def test_nobody_holds_the_lock_when_it_is_over(machine):
    """A service that apt has started lives on: neither this run nor the next one waits for it."""
    machine.has_programs()
    (machine.sbin / "nft").unlink()
    machine.add("apt-get", APT_GET)
    assert machine.run()[0] == 0
    assert machine.run()[:2] == (0, "")


def test_the_commands_of_the_readme_and_ci_begin_with_it():
    commands = re.findall(r"<!-- command: \w+ -->\n```sh\n(.*)\n", (ROOT / "README.md").read_text())
    assert len(commands) == 2
    assert all(each.startswith("./setup && ") for each in commands)
    assert "\n./setup --servers --browser\n" in (ROOT / ".ci/run").read_text()
