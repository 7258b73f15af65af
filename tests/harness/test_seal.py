"""The seal of a run: one changed byte is named, and nobody else's signature is worth anything."""

from __future__ import annotations

import json
import subprocess

import pytest

from harness.doors.cli import main
from harness.report.run import Run, new_run_directory
from harness.report.seal import MANIFEST, SIGNATURE, SealError, new_key, sign, verify, write_manifest

from .records import LAB, PASSED


@pytest.fixture
def run(tmp_path):
    run = Run(new_run_directory(tmp_path))
    (run.logs / "alice.log").write_text("hello")
    (run.logs / "with a name of its own ä.log").write_bytes(b"\xff\x00")
    run.add(PASSED)
    run.add(LAB, [run.logs / "alice.log"])
    run.finish()
    return run.directory


@pytest.fixture
def key(tmp_path):
    file = tmp_path / "key.pem"
    new_key(file)
    return file


def test_every_file_of_a_run_is_in_the_manifest(run):
    names = {line.partition("  ")[2] for line in (run / MANIFEST).read_text().splitlines()}
    files = {str(file.relative_to(run)) for file in run.rglob("*") if file.is_file()}
    assert names == files - {MANIFEST}
    assert {"results.jsonl", "report.html", "logs/alice.log"} <= names
    assert verify(run).faults == ()


def test_sha256sum_reads_the_manifest(run):
    checked = subprocess.run(["sha256sum", "--check", "--quiet", MANIFEST], cwd=run, check=False)
    assert checked.returncode == 0


@pytest.mark.parametrize("name", ["results.jsonl", "logs/alice.log", "report.html", "junit.xml"])
def test_one_changed_byte_is_named(run, name, capsys):
    content = bytearray((run / name).read_bytes())
    content[len(content) // 2] ^= 1
    (run / name).write_bytes(content)
    assert verify(run).faults == (f"{name} was changed",)
    assert main(["report", "verify", str(run)]) == 1
    assert f"{name} was changed" in capsys.readouterr().out


def test_what_is_missing_or_added_is_named(run):
    (run / "logs/alice.log").unlink()
    (run / "logs/more.log").write_text("x")
    assert verify(run).faults == ("logs/alice.log is missing", "logs/more.log was added")


def test_a_signed_run_says_who_signed_it(run, key, capsys):
    public = sign(run, key)
    assert verify(run).signed_by == verify(run, key.with_name("key.pem.pub")).signed_by == public
    assert main(["report", "verify", str(run), "--key", f"{key}.pub"]) == 0
    assert f"signed by {public}" in capsys.readouterr().out


def test_a_seal_of_somebody_else_is_a_fault(run, key, tmp_path):
    other = tmp_path / "other.pem"
    new_key(other)
    trusted = key.with_name("key.pem.pub")
    assert "signed by nobody" in verify(run, trusted).faults[0]
    stranger = sign(run, other)
    assert verify(run, trusted).faults[0].startswith(f"it is signed by {stranger}, and not by ")


@pytest.mark.parametrize("part", ["signature", "public_key"])
def test_a_wrong_signature_is_named(run, key, part, capsys):
    sign(run, key)
    seal = json.loads((run / SIGNATURE).read_text())
    seal[part] = ("0" if seal[part][0] != "0" else "1") + seal[part][1:]
    (run / SIGNATURE).write_text(json.dumps(seal))
    assert main(["report", "verify", str(run)]) == 1
    assert "signature" in capsys.readouterr().out


def test_whoever_changes_file_and_manifest_breaks_the_signature(run, key):
    sign(run, key)
    seal = (run / SIGNATURE).read_bytes()
    (run / "logs/alice.log").write_text("hullo")
    write_manifest(run)
    (run / SIGNATURE).write_bytes(seal)
    assert verify(run).faults == (f"the signature does not belong to {MANIFEST}",)


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"public_key": 7}', b'{"public_key": "00", "signature": ""}', b"[]"]
)
def test_what_is_no_signature_is_said(run, content):
    (run / SIGNATURE).write_bytes(content)
    assert verify(run).faults == (f"{SIGNATURE} is no signature of dc-harness",)


def test_nobody_signs_what_was_changed(run, key):
    (run / "logs/alice.log").write_text("hullo")
    with pytest.raises(SealError, match=r"not signed: logs/alice\.log was changed"):
        sign(run, key)
    assert not (run / SIGNATURE).exists()


def test_the_end_of_a_run_takes_an_older_signature_away(run, key):
    sign(run, key)
    again = Run(run)
    again.add(PASSED)
    again.finish()
    assert verify(run).signed_by == ""
    assert verify(run).faults == ()


def test_a_key_is_for_its_owner_and_never_overwritten(key):
    assert key.stat().st_mode & 0o077 == 0
    before = key.read_bytes()
    with pytest.raises(SealError, match="no key can be made at"):
        new_key(key)
    assert key.read_bytes() == before


def test_bad_input_is_a_sentence(run, tmp_path, capsys):
    text = tmp_path / "text"
    text.write_text("no key")
    for words in (
        ["sign", str(run)],
        ["sign", str(run), "--key", str(text)],
        ["sign", str(run), "--key", str(tmp_path / "none")],
        ["verify", str(tmp_path)],
        ["verify", str(run), "--key", str(text)],
        ["verify"],
    ):
        assert main(["report", *words]) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert "Errno" not in line and "Traceback" not in line
    (run / MANIFEST).write_text("nonsense\n")
    assert main(["report", "verify", str(run)]) == 2
    assert f"{MANIFEST}, line 1, is no digest" in capsys.readouterr().err
