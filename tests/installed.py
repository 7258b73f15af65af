"""The project as others have it: built as a wheel and installed into an environment of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.hosts import MissingCapability

from .harness.network.nobody import as_nobody

__all__ = ["Installed", "install"]

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("harness", "reference_server", "mutants")
WITHIN = 500.0
NOT_INHERITED = ("REMOTE1", "RPC_SERVER_PATH", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel in it; everybody may read it."""

    base: Path
    python: Path
    packages: Path
    """Its site-packages."""

    @property
    def command(self) -> Path:
        """`dc-harness`."""
        return self.python.with_name("dc-harness")

    def run(
        self, *words: str | Path, cwd: Path, as_user: Sequence[str | Path] = (), **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """A program with its Python, in a directory, with nothing of this repository on its path."""
        inherited = {key: value for key, value in os.environ.items() if key not in NOT_INHERITED}
        path = f"{self.python.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        caches = self.base / ("of-nobody" if as_user else "of-us")  # shared: no run compiles again
        inherited |= {"PYTHONPYCACHEPREFIX": str(caches), "PATH": path}
        return subprocess.run(
            [*as_user, *words],
            cwd=cwd,
            env={**inherited, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=WITHIN,
            check=False,
        )

    def copy(self, directory: Path) -> Path:
        """The installed packages in a directory where they may be changed; for PYTHONPATH."""
        for name in PACKAGES:
            shutil.copytree(self.packages / name, directory / name)
        return directory

    def without_servers(self, base: Path) -> Installed:
        """Another environment, with `harness` alone: of those who test servers of others."""
        there = _environment(base)
        shutil.copytree(self.packages / "harness", there.packages / "harness")
        return there


def install(base: Path) -> Installed:
    """Build the wheel and install it below `base`, with the dependencies of the running environment."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if uv is None:
        raise MissingCapability("uv", "the program uv is not installed", heal="./setup")
    dist = base / "dist"
    build: list[str | Path] = [uv, "build", "-q", "--wheel", "-o", dist, ROOT]
    if subprocess.run([*build, "--offline"], capture_output=True, check=False).returncode != 0:
        subprocess.run(build, check=True, capture_output=True)
    [wheel] = dist.glob("*.whl")
    installed = _environment(base)
    subprocess.run(
        [uv, "pip", "install", "-q", "--offline", "--no-deps", "--python", installed.python, wheel],
        check=True,
        capture_output=True,
    )
    return installed


def _environment(base: Path) -> Installed:
    """An empty one, with the dependencies of the running environment."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", base / "venv"], check=True)
    packages = next((base / "venv" / "lib").glob("python*")) / "site-packages"
    # Links of links would be followed into this repository; a path in a .pth file is taken as it is.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (base / "of-nobody").mkdir()
    (base / "of-nobody").chmod(0o777)
    return Installed(base, base / "venv" / "bin" / "python", packages)


def as_ordinary_user(scratch: Path) -> list[str]:
    """What to write before a command so that root runs it as nobody; empty for those who are nobody special."""
    return as_nobody(scratch) if os.geteuid() == 0 else []
