"""madmail's `upgrade`: what it takes in its own place, by a file, by HTTP, and out of an archive.

Release keys are nobody's to have, so what must be taken is shown with a copy of the program that has a key of ours in
place of the release key. Nothing here can run as a program, so no copy is ever replaced, nor anything of this machine.
"""

from __future__ import annotations

import io
import os
import secrets
import socket
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ..hosts import Host, output_of
from ..stage.outcome import Outcome
from ..text import clean

__all__ = ["RELEASE_KEY", "expect_signatures_matter"]

RELEASE_KEY = b"7cb0bcc1d8e91e51f631c9ad6025e8e6e0222a27c3eeaf8608cf1c8430a6c6b0"
"""The Ed25519 public key of madmail's releases in hexadecimal, as it stands in the program."""
MEMBER = "madmail"
"""Name of the program in an archive."""
TAKEN, REFUSED = "Signature verification successful", "INVALID SIGNATURE"
NOBODY = 65534
LOOK_EVERY = 0.05
ENDS_WITHIN = 30.0


def expect_signatures_matter(host: Host, outcome: Outcome, program: Path, directory: Path) -> None:
    """`directory`: an empty one; nobody else must be able to write there."""
    directory.chmod(0o711)  # the copies run as nobody, who may not stop a service of this machine
    original = _copy(program.read_bytes(), directory / "original")
    key = Ed25519PrivateKey.generate()
    content = b"this is no program " + secrets.token_bytes(64)
    signed = content + key.sign(content)
    cases = [(original, "unsigned", content, REFUSED), (original, "signed-by-a-stranger", signed, REFUSED)]
    ours = program.read_bytes().replace(RELEASE_KEY, key.public_key().public_bytes_raw().hex().encode())
    if program.read_bytes().count(RELEASE_KEY) == 1:
        with_our_key = _copy(ours, directory / "with-our-key")
        changed = bytes([signed[0] ^ 1]) + signed[1:]
        cases += [(with_our_key, "changed", changed, REFUSED), (with_our_key, "signed", signed, TAKEN)]
    else:
        outcome.note(
            "that it takes what is rightly signed was not tried: the release key is not in the program"
        )
    for copy, kind, data, wanted in cases:
        file = directory / kind
        file.write_bytes(data)
        before, what = _identity(copy), f"what is {kind.replace('-', ' ')}"
        for way, source in _ways(host, file):
            _expect(host, outcome, [copy, "upgrade", source], f"{what}, {way},", wanted)
            if _identity(copy) != before:
                outcome.expect(False, "the program was replaced by something that does not run")
                return


def _expect(host: Host, outcome: Outcome, command: list[str | Path], what: str, wanted: str) -> None:
    environment = {**os.environ, "NO_PROXY": "*"}
    try:
        code, said = output_of(host, command, within=ENDS_WITHIN, env=environment, **_as_nobody())
    except TimeoutError as error:
        outcome.expect(False, f"what is to be said of {what} is not known: {error}")
        return
    last = clean(said.strip().rpartition("\n")[2], 200)
    if wanted is TAKEN:
        outcome.expect(TAKEN in said, f"{what} is not taken as rightly signed: {last}")
    else:
        outcome.expect(
            code != 0 and REFUSED in said and TAKEN not in said,
            f"{what} is not refused for its signature: exit code {code}, {last}",
        )


def _ways(host: Host, file: Path) -> Iterator[tuple[str, str]]:
    """Name of each way, and the file, or its URL."""
    archive = file.with_name(f"{file.name}.tar.gz")
    with tarfile.open(archive, "w:gz") as packed:
        member = tarfile.TarInfo(MEMBER)
        member.size = file.stat().st_size
        packed.addfile(member, io.BytesIO(file.read_bytes()))
    yield "as a file", str(file)
    with _served(host, file.parent) as url:
        yield "by HTTP", f"{url}/{file.name}"
        yield "in an archive", f"{url}/{archive.name}"


@contextmanager
def _served(host: Host, directory: Path) -> Iterator[str]:
    """URL of a directory, over HTTP."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(directory))

        def log_message(self, format: str, *arguments: Any) -> None:
            """Nobody asks."""

    server = ThreadingHTTPServer((host.address, 0), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = host.socket(socket.AF_INET, socket.SOCK_STREAM)
    server.server_bind()
    server.server_activate()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": LOOK_EVERY}, daemon=True)
    thread.start()
    try:
        yield f"http://{host.address}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _copy(program: bytes, place: Path) -> Path:
    place.write_bytes(program)
    place.chmod(0o755)
    return place


def _identity(file: Path) -> tuple[int, int, int]:
    """Different for a file that was written to, or that another has taken the place of."""
    found = file.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _as_nobody() -> dict[str, object]:
    """Words for a program that is started without any rights, where we have some to give up."""
    if os.geteuid() != 0 or not _is_mapped(NOBODY):
        return {}
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []}


def _is_mapped(user: int) -> bool:
    """The user namespace that we are in has such a user (user_namespaces(7))."""
    ranges = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    return any(int(first) <= user < int(first) + int(count) for first, _outside, count in ranges)
