"""`python -m reference_server.mail`: the mail service as a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from reference_server.options import read_options
from reference_server.service import parser_of, run

from .service import MailService
from .settings import MailSettings

PARSER = parser_of("mail", MailSettings, "A chatmail test server: IMAP, submission, accounts for everybody.")


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until a signal comes; returns the exit code."""
    options = PARSER.parse_args(argv)
    return run("mail", lambda: read_options(MailSettings, options), MailService)


if __name__ == "__main__":
    sys.exit(main())
