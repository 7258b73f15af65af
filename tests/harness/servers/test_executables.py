import errno
import sys
from pathlib import Path
from typing import Literal

import pytest

from harness.servers.executables import why_not_executed


def elf(machine: int, *, big_endian: bool = False) -> bytes:
    order: Literal["big", "little"] = "big" if big_endian else "little"
    ident = b"\x7fELF\x02" + bytes([2 if big_endian else 1]) + bytes(10)
    return ident + (2).to_bytes(2, order) + machine.to_bytes(2, order) + bytes(44)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (elf(0xF3), "is a program for RISC-V, and this machine is "),
        (elf(0x16, big_endian=True), "is a program for IBM Z, and this machine is "),
        (elf(0x1234), "is a program for machine 4660 of the ELF standard"),
        (b"\x7fELF", "is no program for Linux"),
        (b"echo hello\n", "is no program for Linux, nor a script that begins with #!"),
        (b"", "is no program for Linux"),
    ],
)
def test_what_is_executed_nowhere_is_said(content, sentence, tmp_path):
    file = tmp_path / "server"
    file.write_bytes(content)
    assert sentence in why_not_executed(file, errno.ENOEXEC)


def test_a_program_for_this_machine_that_the_kernel_refuses_is_damaged(tmp_path):
    file = tmp_path / "server"
    with Path(sys.executable).open("rb") as program:
        file.write_bytes(program.read(64))
    assert why_not_executed(file, errno.ENOEXEC) == f"{file} is a damaged program"


def test_what_is_not_there_is_named(tmp_path):
    file = tmp_path / "server"
    assert why_not_executed(file, errno.ENOENT) == f"there is no program {file}"
    file.write_text("#!/nowhere/python\n")
    assert "interpreter or loader" in why_not_executed(file, errno.ENOENT)
    assert why_not_executed(tmp_path, errno.EACCES) == f"{tmp_path} is a directory"
    assert why_not_executed(file, errno.EACCES) == f"{file} is not executable (chmod +x)"
    assert why_not_executed(file, errno.ENOMEM) == f"{file}: Cannot allocate memory"
