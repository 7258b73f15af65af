"""Certificates of a server, as those see them who verify them."""

from __future__ import annotations

import ssl

from ..errors import plain
from ..report.observations import Measured
from ..stage.check import check
from ..stage.options import ACCEPT_SELF_SIGNED
from ..stage.outcome import Outcome
from ..stage.stage import Stage
from ..steps.addresses import expect_every_address_accepts

__all__ = ["certificates_are_trusted"]

HEAL = "the rest of a server whose certificates nobody vouches for is tested with --accept-self-signed"
WITHIN = 10.0


@check()
def certificates_are_trusted(stage: Stage, outcome: Outcome) -> None:
    """IMAP, submission and HTTPS show certificates that are valid for the server's name, from a CA that is trusted."""
    target = stage.target
    context = target.strict_ssl_context()
    ports = {"imaps": target.imaps, "submissions": target.submissions, "https": target.https}
    verified = []
    for service, port in ports.items():
        try:
            with (
                stage.host.connect(target.host, port, within=WITHIN) as connection,
                context.wrap_socket(connection, server_hostname=target.host),
            ):
                verified.append(service)
        except ssl.SSLError as error:
            why = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else plain(error)
            outcome.expect(
                False, f"the certificate of {service} ({target.host}:{port}) is not trusted: {why}"
            )
            if stage.target.pinned is None:
                outcome.note(f"{HEAL}, or with {ACCEPT_SELF_SIGNED}=1 in the environment")
        except OSError as error:
            outcome.note(f"nothing to verify at {service} ({target.host}:{port}): {plain(error)}")
        else:
            expect_every_address_accepts(outcome, stage.host, target.host, port, cause="name.address_dead")
    outcome.observe(Measured("certificates that are trusted", ", ".join(verified)))
    outcome.expect(verified or outcome.reasons, "no TLS port answers")
