"""The doctor as it is installed by `pip install dc-harness`: an ordinary user, no namespaces, no extra `calls`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from harness.hosts import LocalHost
from harness.servers.endpoints import read_endpoints
from harness.servers.registry import server_of
from harness.servers.server import Wants
from harness.stage.session import loopback_place

from .installed import Installed, as_ordinary_user

DC_HARNESS = ("-c", "import sys; from harness.doors.cli import main; sys.exit(main())")
HEALTHY, SICK, UNKNOWN = 0, 1, 3
WITHOUT_CALLS = """\
import sys
sys.modules.update(dict.fromkeys(("aiortc", "aioice", "av", "pylibsrtp")))
"""
"""For `sitecustomize`: as if none of these were installed."""
WITHOUT_NAMESPACES = """\
import ctypes, os, sys
begun, mapped = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    assert ctypes.CDLL(None, use_errno=True).unshare(0x10000000) == 0  # CLONE_NEWUSER
    os.write(begun[1], b"1"), os.read(mapped[0], 1)
    os.setgid(0), os.setuid(0)
    with open("/proc/sys/user/max_user_namespaces", "w") as limit:
        limit.write("0")
    os.execvp(sys.argv[1], sys.argv[1:])
os.read(begun[0], 1)
for name in ("uid_map", "gid_map"):
    with open(f"/proc/{child}/{name}", "w") as file:
        file.write("0 0 65536")
os.write(mapped[1], b"1")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
"""In it, nobody makes a user namespace any more, as where `kernel.unprivileged_userns_clone` is 0."""
MUTANTS = {
    "certificate_of_another_name": "mail.certificate_wrong_name",
    "idle_never_wakes": "mail.idle_is_silent",
    "irohrelay_dead_port": "relay.port_closed",
    "metadata_capability_missing": "metadata.not_advertised",
    "relay_drops_large_frames": "relay.limits_size",
    "turn_at_localhost": "turn.address_foreign",
    "turn_leaves_its_port_to_stun": "turn.not_answering",
    "turn_other_secret": "turn.secret_differs",
    "unencrypted_mail_accepted": "mail.accepts_unencrypted",
}

Doctor = Callable[..., subprocess.CompletedProcess[str]]


@contextmanager
def open_directory() -> Iterator[Path]:
    """One that everybody may look into; pytest closes its own to others each time it starts."""
    with TemporaryDirectory(prefix="dc-harness-open-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def doctor(installed: Installed) -> Iterator[Doctor]:
    """`dc-harness doctor` with such words."""
    with open_directory() as base:
        yield _doctor(installed, base)


def _doctor(installed: Installed, base: Path) -> Doctor:
    bare = installed.without_servers(base)
    (bare.packages / "sitecustomize.py").write_text(WITHOUT_CALLS)
    home = base / "home"
    home.mkdir()
    home.chmod(0o777)
    (base / "scratch").mkdir()
    user = as_ordinary_user(base / "scratch")
    if user:
        at = user.index("setpriv")
        user[at:at] = [sys.executable, "-c", WITHOUT_NAMESPACES]

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        python = [bare.python, *DC_HARNESS, "doctor", *words]
        return bare.run(*python, cwd=home, as_user=user, HOME=str(home))

    return run


@contextmanager
def ready_line(kind: str, tmp_path: Path) -> Iterator[Path]:
    """Of a server that somebody else runs."""
    place = loopback_place(tmp_path / "state", tmp_path / "logs")
    server = server_of(kind)
    with server.start(LocalHost(), place, Wants()), open_directory() as directory:
        [log] = place.logs.glob("*.stdout.log")
        endpoints = dict(read_endpoints(log))
        endpoints.pop("control", None)
        known = directory / "ca.pem"  # its own is for its owner alone
        known.write_bytes(Path(endpoints["ca_file"]).read_bytes())
        endpoints["ca_file"] = str(known)
        file = directory / "ready.json"
        file.write_text(json.dumps({"ready": True, "endpoints": endpoints}))
        file.chmod(0o644)
        known.chmod(0o644)
        yield file


def found(ran: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert "Traceback" not in ran.stderr, ran.stderr
    assert ran.stdout, ran.stderr
    return dict(json.loads(ran.stdout))


@pytest.mark.parametrize("mutant", MUTANTS)
def test_whatever_shows_from_one_host_is_named(doctor, mutant, tmp_path):
    with ready_line(f"mutant={mutant}", tmp_path) as file:
        ran = doctor("--json", "--endpoints", file)
    assert (ran.returncode, found(ran)["cause"]) == (SICK, MUTANTS[mutant])


def test_a_healthy_server_is_healthy_and_what_needs_more_says_so(doctor, tmp_path):
    with ready_line("reference", tmp_path) as file:
        healthy = doctor("--json", "--endpoints", file)
        called = doctor("--json", "--endpoints", file, "--only", "turn", "--with-calls")
        from_home = doctor("--server", "reference", "--from", "home")
    assert (healthy.returncode, found(healthy)["causes"]) == (HEALTHY, []), healthy.stdout
    assert called.returncode == UNKNOWN
    assert "pip install 'dc-harness[calls]'" in found(called)["unknown"][0]
    assert from_home.returncode == UNKNOWN
    assert "reference_server: this package is not installed: pip install" in from_home.stderr
    assert "Traceback" not in from_home.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="nothing of ours is closed to us")
def test_a_ca_that_may_not_be_read_is_named(doctor, tmp_path):
    with ready_line("reference", tmp_path) as file:
        file.with_name("ca.pem").chmod(0o600)
        ran = doctor("--endpoints", file)
    assert ran.returncode == UNKNOWN
    assert "cannot be read: " in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user cannot take namespaces from itself")
def test_it_is_true_that_there_are_no_namespaces(doctor):
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_NAMESPACES, "unshare", "--user", "true"],
        check=False,
        capture_output=True,
    )
    assert ran.returncode != 0
