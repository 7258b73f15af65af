"""DKIM (RFC 6376) by dkimpy: our own mail is signed, and that of others has to be by the domain of its From."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Mapping
from pathlib import Path

from ..mime import parse_header
from .routes import Lookup, NameNotFound

__all__ = ["Signer", "has_any_signature", "has_signature_of", "load_signer"]

SELECTOR = "opendkim"
"""As chatmail servers have it."""
KEY_BITS = 2048
MOST_SIGNATURES = 8
"""Of one mail that are looked at."""
log = logging.getLogger(__name__)
logging.getLogger("dkimpy").setLevel(logging.ERROR)


class Signer:
    """The key of one domain."""

    def __init__(self, domain: str, private_key: bytes, public_key: bytes) -> None:
        """Keys: PEM, and DER of SubjectPublicKeyInfo."""
        self._domain = domain
        self._private_key = private_key
        self._public_key = public_key

    @property
    def record(self) -> tuple[str, str]:
        """Name and text of the TXT record that others look for."""
        key = base64.b64encode(self._public_key).decode()
        return f"{SELECTOR}._domainkey.{self._domain}", f"v=DKIM1; k=rsa; p={key}"

    async def sign(self, content: bytes) -> bytes:
        """The mail with a signature in front."""
        return await asyncio.to_thread(self._sign, content)

    def _sign(self, content: bytes) -> bytes:
        import dkim  # noqa: PLC0415 - slow to load, and few servers send mail

        signature: bytes = dkim.sign(content, SELECTOR.encode(), self._domain.encode(), self._private_key)
        return signature + content


def load_signer(domain: str, directory: Path) -> Signer:
    """The key in `directory`, made at first use: others find it by name server, so it stays."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - slow to load
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415

    file = directory / f"{SELECTOR}.pem"
    if not file.exists():
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
        written = file.with_suffix(".new")
        written.touch(mode=0o600)
        written.write_bytes(
            made.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )
        written.replace(file)
    private_key = file.read_bytes()
    key = serialization.load_pem_private_key(private_key, None)
    public_key = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return Signer(domain, private_key, public_key)


def has_any_signature(content: bytes) -> bool:
    """True when a mail has a signature, of whomever and right or not."""
    parsed = parse_header(content)
    return parsed is not None and "DKIM-Signature" in parsed[0]


async def has_signature_of(domain: str, content: bytes, lookup: Lookup) -> bool:
    """True when one of the signatures is of this domain, and right. Raises `LookupFailed`."""
    selectors = _selectors(domain, content)
    keys: dict[bytes, bytes] = {}
    for selector in dict.fromkeys(selectors.values()):
        name = f"{selector}._domainkey.{domain}"
        try:
            records = await lookup.txt(name)
        except NameNotFound:
            records = []
        if records:
            keys[f"{name}.".encode()] = records[0]
        else:
            log.info("a signature is not right: there is no key %s", name)
    if not keys:
        return False
    return await asyncio.to_thread(_verify, content, list(selectors), keys)


def _selectors(domain: str, content: bytes) -> dict[int, str]:
    """Of the signatures that say they are of this domain, by their place among all."""
    parsed = parse_header(content)
    if parsed is None:
        return {}
    fields = [str(each) for each in parsed[0].get_all("DKIM-Signature", [])][:MOST_SIGNATURES]
    selectors = {}
    for place, field in enumerate(fields):
        tags = {
            name.strip(): value.strip() for name, _, value in (tag.partition("=") for tag in field.split(";"))
        }
        selector = tags.get("s", "").lower()
        if tags.get("d", "").lower() == domain and selector.isascii() and selector.isprintable():
            selectors[place] = selector
    return selectors


def _verify(content: bytes, places: list[int], keys: Mapping[bytes, bytes]) -> bool:
    import dkim  # noqa: PLC0415 - slow to load

    def key(name: bytes | str, timeout: int = 0) -> bytes | None:  # noqa: ARG001 - dkimpy names it
        return keys.get((name.encode() if isinstance(name, str) else name).lower())

    for place in places:
        try:
            if dkim.DKIM(content).verify(idx=place, dnsfunc=key):
                return True
            log.info("a signature is not right: the key is another one, or a field was changed")
        except Exception as error:  # dkimpy raises what it likes for bytes of strangers
            log.info("a signature is not right: %s", error)
    return False
