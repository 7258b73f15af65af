"""Why a program cannot be executed, in words: execve(2) only gives a number for it."""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path

__all__ = ["why_not_executed"]

ELF = b"\x7fELF"
HEADER_BYTES = 20
MACHINES = {
    0x03: "32-bit x86",
    0x08: "MIPS",
    0x14: "32-bit PowerPC",
    0x15: "64-bit PowerPC",
    0x16: "IBM Z",
    0x28: "32-bit ARM",
    0x3E: "x86-64",
    0xB7: "64-bit ARM",
    0xF3: "RISC-V",
}
"""Of `e_machine` (elf(5)), those that people build programs for."""


def why_not_executed(program: str | Path, number: int) -> str:
    """A clause such as "there is no program /usr/bin/foo", for a failed execve(2) with this errno."""
    path = Path(program)
    if path.is_dir():
        return f"{path} is a directory"
    if number == errno.ENOENT:
        if path.exists():
            return f"the interpreter or loader that {path} names is not on this machine"
        return f"there is no program {path}"
    if number == errno.EACCES and path.exists() and not os.access(path, os.X_OK):
        return f"{path} is not executable (chmod +x)"
    if number == errno.ENOEXEC:
        return _why_no_program(path)
    return f"{path}: {os.strerror(number)}"


def _why_no_program(path: Path) -> str:
    machine, own = _machine(path), _machine(Path("/proc/self/exe"))
    if machine is None:
        return f"{path} is no program for Linux, nor a script that begins with #!"
    if machine != own:
        return f"{path} is a program for {_name(machine)}, and this machine is {_name(own)}"
    return f"{path} is a damaged program"


def _machine(path: Path) -> int | None:
    """The kind of machine that an ELF file is for; None: it is no ELF file."""
    try:
        with path.open("rb") as file:
            header = file.read(HEADER_BYTES)
    except OSError:
        return None
    if len(header) < HEADER_BYTES or not header.startswith(ELF):
        return None
    order = ">" if header[5] == 2 else "<"  # EI_DATA
    return int(struct.unpack_from(f"{order}H", header, 18)[0])


def _name(machine: int | None) -> str:
    return MACHINES.get(machine or 0, f"machine {machine} of the ELF standard")
