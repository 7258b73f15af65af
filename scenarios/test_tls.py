"""Certificates of a server."""

from harness.checks import tls
from harness.doors.scenario import scenario

test_certificates_are_trusted = scenario(tls.certificates_are_trusted)
