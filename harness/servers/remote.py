"""A server that somebody else runs: known by its name, or by its ready line."""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..clients.control import ControlClient, ControlError
from ..errors import plain
from ..hosts import Host
from ..target import Target
from .endpoints import describe
from .reference import supervised_programs
from .server import RunningServer, ServerError

__all__ = ["host_named", "pin_certificates", "remote_target", "running_server"]

CONNECT_WITHIN = 10.0
LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?"
NAME = re.compile(rf"(?=.{{1,253}}$)(?!(.*\.)?([0-9]+|0x[0-9a-f]*)$){LABEL}(\.{LABEL})*")
"""The last label of a name is no number (RFC 3696, 2): what looks like an address is one, or a mistake. Resolvers
take hexadecimal ones for numbers, too."""


def remote_target(domain: str, *, ca_file: Path | None = None) -> Target:
    """The chatmail server at `domain`, a name or an IP address; `ca_file` verifies it where no public CA does.

    It is on the standard ports. Its mail addresses end in `@domain`, for an IP address in brackets (RFC 5321, 4.1.3).
    Raises `ValueError` with the right form for anything else, such as a URL.
    """
    domain, mail_domain = _named(domain, "--domain")
    return Target(
        name=domain,
        host=domain,
        domain=mail_domain,
        imaps=993,
        imap=143,
        submissions=465,
        submission=587,
        https=443,
        ca_file=ca_file,
        dialect="unknown",
        is_ours=False,
    )


def host_named(text: str, option: str) -> str:
    """The host of an option's value as `remote_target` reads one. Raises `ValueError` with the right form."""
    return _named(text, option)[0]


def _named(text: str, option: str) -> tuple[str, str]:
    """Host and mail domain: `mail.example.org`, `203.0.113.5`, `2001:db8::5` and `[2001:db8::5]`."""
    bare = (text[1:-1] if text.startswith("[") and text.endswith("]") else text).removeprefix("IPv6:")
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        name = text.lower().rstrip(".")
        if NAME.fullmatch(name) is None:
            raise ValueError(
                f"{option} {text!r} is no server: it must be a name like mail.example.org or an address, without "
                f"scheme, port or path{_as_dns_has_it(name)}"
            ) from None
        return name, name
    return str(address), f"[IPv6:{address}]" if address.version == 6 else f"[{address}]"


def _as_dns_has_it(name: str) -> str:
    """A hint for a name that is not in ASCII."""
    try:
        written = "" if name.isascii() else name.encode("idna").decode()
    except UnicodeError:
        return ""
    return f"; in DNS that one is {written}" if NAME.fullmatch(written) else ""


def running_server(endpoints: Mapping[str, Any], host: Host) -> RunningServer:
    """The server that printed these endpoints. Its control socket is used if it answers on this machine.

    Raises `ServerError` for endpoints that are not complete.
    """
    control, programs = None, {}
    if isinstance(path := endpoints.get("control"), str) and Path(path).is_socket():
        control = ControlClient(Path(path), host)
        try:
            programs = supervised_programs(control)
        except ControlError:
            control = None
    try:
        target = describe(endpoints, str(endpoints["host"]), frozenset())
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ServerError(f"the endpoints have no usable {error}") from error
    target = replace(target, is_ours=False)
    return RunningServer(
        target.name, programs, turn=target.turn, control=control, ca_file=target.ca_file, target=target
    )


def pin_certificates(target: Target, host: Host, file: Path) -> Target:
    """Write the certificates that the target shows now to `file`; from now on they are accepted and no others.

    Raises `ServerError` when none of its TLS ports answers.
    """
    shown: dict[str, None] = {}
    failures = []
    for port in (target.imaps, target.submissions, target.https):
        try:
            shown[_certificate(target, host, port)] = None
        except OSError as error:
            failures.append(f"{port}: {plain(error)}")
    if not shown:
        raise ServerError(f"no TLS port of {target.host} shows a certificate ({'; '.join(failures)})")
    file.write_text("".join(shown))
    return replace(target, pinned=file)


def _certificate(target: Target, host: Host, port: int) -> str:
    """The server's own certificate, PEM."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is sent over this connection, it only looks
    with (
        host.connect(target.host, port, within=CONNECT_WITHIN) as connection,
        context.wrap_socket(connection, server_hostname=target.host) as session,
    ):
        certificate = session.getpeercert(binary_form=True)
    assert certificate is not None
    return ssl.DER_cert_to_PEM_cert(certificate)
