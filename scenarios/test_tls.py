"""What a server's certificates are worth."""

from __future__ import annotations

from harness.checks import tls
from harness.hosts import Host
from harness.target import Target


def test_certificates_are_trusted(target: Target, host: Host) -> None:
    assert tls.certificates_are_trusted(target, host)
