"""`python -m reference_server.mail`: the mail service as a process of its own."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from reference_server.ledger import Ledger
from reference_server.service import ConfigurationError, check_bind_address, run
from reference_server.turn.credentials import read_secrets, turn_line

from .service import MailService
from .settings import Dialect, MailSettings, PasswordHashCost
from .strategies import Strategies

DATABASE = "mail.sqlite"


def main(argv: Sequence[str] | None = None, strategies: Strategies | None = None) -> int:
    """Serve until a signal comes; returns the exit code."""
    options = _arguments().parse_args(argv)

    def make() -> MailService:
        return MailService(
            _settings(options), strategies=strategies, ledger=Ledger("mail", enabled=options.ledger)
        )

    return run("mail", make, control=options.control)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m reference_server.mail",
        description="A chatmail test server: IMAP, submission, accounts for everybody.",
    )
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="where the mail is kept")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="IP address to listen on")
    parser.add_argument("--public", action="store_true", help="allow an address that others can reach")
    for name in ("imaps", "imap", "submissions", "submission", "https"):
        default = getattr(MailSettings, f"{name}_port")
        parser.add_argument(
            f"--{name}-port", type=int, default=default, metavar="PORT", help=f"{default}; 0 for any free one"
        )
    parser.add_argument("--domain", default=MailSettings.domain, help="of the mail addresses")
    parser.add_argument("--dialect", type=Dialect, choices=list(Dialect), default=MailSettings.dialect)
    parser.add_argument("--iroh-relay-url", metavar="URL", help="advertised in METADATA")
    parser.add_argument("--turn-address", metavar="HOST:PORT", help="TURN server, advertised in METADATA")
    parser.add_argument("--turns-address", metavar="HOST:PORT", help="the same over TLS")
    parser.add_argument(
        "--turn-secret-file", type=Path, metavar="FILE", help="its shared secret; the first line counts"
    )
    parser.add_argument(
        "--turn-ttl", type=int, default=86400, metavar="SECONDS", help="how long its credentials are valid"
    )
    parser.add_argument("--comment", metavar="TEXT", help="advertised in METADATA")
    parser.add_argument(
        "--admin", metavar="URI", help="advertised in METADATA, e.g. mailto:root@chatmail.test"
    )
    parser.add_argument("--compress", action="store_true", help="offer COMPRESS=DEFLATE over IMAP")
    parser.add_argument(
        "--messages-per-minute",
        type=int,
        default=MailSettings.messages_per_minute,
        metavar="N",
        help="that a sender may submit, after 10 at once; 0 for no limit, which is the default",
    )
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="PEM chain; without it one is issued")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="PEM key")
    parser.add_argument("--tls-ca", type=Path, metavar="FILE", help="told to clients in the ready line")
    parser.add_argument(
        "--password-hash-cost",
        type=PasswordHashCost,
        choices=list(PasswordHashCost),
        default=MailSettings.password_hash_cost,
        help="low protects nothing and is for tests",
    )
    parser.add_argument("--control", type=Path, metavar="PATH", help="unix socket (docs/control-protocol.md)")
    parser.add_argument("--ledger", action="store_true", help="remember who connected and what was read")
    return parser


def _settings(options: argparse.Namespace) -> MailSettings:
    check_bind_address(options.host, public=options.public)
    has_turn = options.turn_address is not None or options.turns_address is not None
    if has_turn != (options.turn_secret_file is not None):
        raise ConfigurationError("--turn-address or --turns-address, and --turn-secret-file, belong together")
    for name in ("iroh_relay_url", "comment", "admin"):
        value = getattr(options, name) or ""
        if not value.isprintable():
            raise ConfigurationError(f"--{name.replace('_', '-')} has characters that METADATA cannot carry")
    options.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    certificate_file, key_file, ca_file = _certificate(options)
    return MailSettings(
        database=options.state / DATABASE,
        certificate_file=certificate_file,
        key_file=key_file,
        ca_file=ca_file,
        host=options.host,
        imaps_port=options.imaps_port,
        imap_port=options.imap_port,
        submissions_port=options.submissions_port,
        submission_port=options.submission_port,
        https_port=options.https_port,
        domain=options.domain.lower(),
        dialect=options.dialect,
        compress=options.compress,
        messages_per_minute=max(0, options.messages_per_minute),
        password_hash_cost=options.password_hash_cost,
        comment=options.comment,
        admin=options.admin,
        iroh_relay_url=options.iroh_relay_url,
        turn=_turn(options, "turn_address"),
        turns=_turn(options, "turns_address"),
    )


def _turn(options: argparse.Namespace, name: str) -> Callable[[], str] | None:
    """What gives a line with fresh credentials at each call, for the address of this option."""
    address = getattr(options, name)
    if address is None:
        return None
    if address.count(":") != 1 or not address.isprintable():
        raise ConfigurationError(
            f"--{name.replace('_', '-')} is HOST:PORT; METADATA cannot carry an IPv6 address"
        )
    return partial(turn_line, address, read_secrets(options.turn_secret_file)[0], options.turn_ttl)


def _certificate(options: argparse.Namespace) -> tuple[Path, Path, Path | None]:
    """Certificate, key, and the CA where it is ours."""
    if (options.tls_cert is None) != (options.tls_key is None):
        raise ConfigurationError("--tls-cert and --tls-key belong together")
    if options.tls_cert is not None:
        return options.tls_cert, options.tls_key, options.tls_ca
    from reference_server.tls import issue_development_certificate  # noqa: PLC0415 - cryptography is slow to load

    issued = issue_development_certificate(options.state / "tls", [options.host, options.domain])
    return issued.certificate_file, issued.key_file, issued.ca_file


if __name__ == "__main__":
    sys.exit(main())
