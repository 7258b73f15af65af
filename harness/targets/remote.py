"""A server that somebody else runs: known by its name, on the standard ports, TLS verified.

There is no ledger, so checks name the weaker witness.
"""

from __future__ import annotations

from pathlib import Path

from .target import Target

__all__ = ["remote_target"]


def remote_target(domain: str, *, ca_file: Path | None = None) -> Target:
    """The chatmail server at `domain`, a name or an IP address; `ca_file` verifies it where no public CA does.

    Its mail addresses end in `@domain`, in brackets for an IP address (RFC 5321, 4.1.3).
    """
    is_address = all(character.isdigit() or character == "." for character in domain) or ":" in domain
    return Target(
        name=domain,
        host=domain,
        domain=f"[{domain}]" if is_address else domain,
        imaps=993,
        imap=143,
        submissions=465,
        submission=587,
        https=443,
        ca_file=ca_file,
        dialect="unknown",
        capabilities=frozenset({"iroh_relay"}),
    )
