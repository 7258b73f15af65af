"""The reference server with a TURN line in METADATA, for cores that do not come online without: nothing listens there.

`python -m tests.harness.server_with_turn` takes the arguments of `reference_server`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from reference_server.__main__ import main as serve
from reference_server.mail import __main__ as mail
from reference_server.mail.service import MailService
from reference_server.supervisor import standard_command


class MailWithTurn(MailService):
    def __init__(self, settings, **options):
        def line() -> str:
            return f"{settings.host}:3478:{int(time.time()) + 86_400}:x"

        super().__init__(replace(settings, turn=line), **options)


def command(service: str, arguments: Sequence[str]) -> list[str]:
    if service == "mail":
        return [sys.executable, "-m", "tests.harness.server_with_turn", "--as-mail", *arguments]
    return standard_command(service, arguments)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--as-mail"]:
        vars(mail)["MailService"] = MailWithTurn
        sys.exit(mail.main(sys.argv[2:]))
    sys.exit(serve(sys.argv[1:], command))
