"""Seal of a run directory: SHA-256 of every file (the manifest), and a signature of that by whoever vouches for it.

The manifest is written at the end of a run, in the format of `sha256sum`. The signature is Ed25519 (RFC 8032) over
the bytes of the manifest, in a file that also has the public key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from ..errors import plain
from ..text import clean

__all__ = ["MANIFEST", "SIGNATURE", "SealError", "Sealed", "new_key", "sign", "verify", "write_manifest"]

MANIFEST = "manifest.sha256"
SIGNATURE = "manifest.signature.json"
UNSEALED = frozenset({MANIFEST, SIGNATURE})
ALGORITHM = "Ed25519"


class SealError(Exception):
    """Nothing can be said about the seal, or no seal can be made. The message is a sentence."""


@dataclass(frozen=True)
class Sealed:
    """Findings about a run directory and its seal."""

    files: int
    """Number of files that the manifest names."""
    faults: tuple[str, ...]
    """Sentences that name each file which is not as it was; empty: all are."""
    signed_by: str = ""
    """Public key, as hex digits; empty: nobody signed."""


def write_manifest(directory: Path) -> None:
    """Name every file below the directory with its digest. A signature of an earlier one is worth nothing, and goes."""
    lines = [f"{_digest(directory / name)}  {name}\n" for name in _names(directory)]
    (directory / SIGNATURE).unlink(missing_ok=True)
    (directory / MANIFEST).write_text("".join(lines), encoding="utf-8", errors="surrogateescape")


def verify(directory: Path, trusted: Path | None = None) -> Sealed:
    """Compare every file with the manifest, and that with its signature. Raises `SealError` without a manifest.

    `trusted`: a public key (PEM); a seal of anybody else is a fault then.
    """
    manifest = _read(
        directory / MANIFEST, f"{directory} has no {MANIFEST}: the run did not end, or is an older one"
    )
    named = dict(_entries(manifest))
    found = set(_names(directory))
    faults = [f"{clean(name)} is missing" for name in named if name not in found]
    faults += [
        f"{clean(name)} was changed" for name in named if name in found and _differs(directory, name, named)
    ]
    faults += [f"{clean(name)} was added" for name in sorted(found - named.keys())]
    signed_by, broken = _signature(directory, manifest)
    faults += [broken] if broken else []
    if trusted is not None and not broken:
        wanted = _public(trusted)
        if signed_by != wanted:
            faults.append(f"it is signed by {signed_by or 'nobody'}, and not by {wanted}")
    return Sealed(len(named), tuple(faults), signed_by)


def sign(directory: Path, key: Path) -> str:
    """Sign the manifest with a private key (PEM) after all files were compared with it. Returns the public key, as hex.

    Raises `SealError` if the key cannot be used or a file is not as it was.
    """
    private = _private(key)
    (directory / SIGNATURE).unlink(missing_ok=True)
    if faults := verify(directory).faults:
        raise SealError(f"not signed: {'; '.join(faults)}")
    public = _hex(private.public_key())
    signature = private.sign((directory / MANIFEST).read_bytes()).hex()
    seal = {"algorithm": ALGORITHM, "of": MANIFEST, "public_key": public, "signature": signature}
    (directory / SIGNATURE).write_text(json.dumps(seal, indent=1) + "\n", encoding="utf-8")
    return public


def new_key(file: Path) -> str:
    """Make a private key (PEM, only for its owner) and, beside it, `.pub`. Raises `SealError` if there is one."""
    private = Ed25519PrivateKey.generate()
    try:
        file.touch(mode=0o600, exist_ok=False)
        file.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        file.with_name(f"{file.name}.pub").write_bytes(public)
    except OSError as error:
        raise SealError(f"no key can be made at {file}: {plain(error)}") from error
    return _hex(private.public_key())


def _names(directory: Path) -> list[str]:
    """Files below the directory, sorted; a symbolic link is none, since what it leads to is not part of the run."""
    found = (each for each in directory.rglob("*") if each.is_file() and not each.is_symlink())
    names = (str(each.relative_to(directory)) for each in found)
    return sorted(name for name in names if name not in UNSEALED)


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _differs(directory: Path, name: str, named: dict[str, str]) -> bool:
    return _digest(directory / name) != named[name]


def _entries(manifest: bytes) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(manifest.decode("utf-8", "surrogateescape").split("\n")[:-1], start=1):
        digest, gap, name = line.partition("  ")
        if len(digest) != 64 or not gap or not name:
            raise SealError(f"{MANIFEST}, line {number}, is no digest with the name of a file")
        yield name, digest


def _signature(directory: Path, manifest: bytes) -> tuple[str, str]:
    """The key that signed, and what is wrong with the signature."""
    file = directory / SIGNATURE
    if not file.exists():
        return "", ""
    try:
        seal = json.loads(file.read_bytes())
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(seal["public_key"]))
        public.verify(bytes.fromhex(seal["signature"]), manifest)
    except InvalidSignature:
        return "", f"the signature does not belong to {MANIFEST}"
    except (OSError, ValueError, KeyError, TypeError):
        return "", f"{SIGNATURE} is no signature of dc-harness"
    return _hex(public), ""


def _private(file: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(_read(file, f"the key {file} cannot be read"), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SealError(f"{file} is no private key in PEM without a password") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SealError(f"{file} is a key of another kind than {ALGORITHM}")
    return key


def _public(file: Path) -> str:
    try:
        key = load_pem_public_key(_read(file, f"the key {file} cannot be read"))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SealError(f"{file} is no public key in PEM") from error
    if not isinstance(key, Ed25519PublicKey):
        raise SealError(f"{file} is a key of another kind than {ALGORITHM}")
    return _hex(key)


def _hex(key: Ed25519PublicKey) -> str:
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def _read(file: Path, otherwise: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise SealError(f"{otherwise} ({plain(error)})") from error
