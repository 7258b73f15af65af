"""Services that a server's METADATA offers to Delta Chat clients (RFC 5464)."""

from __future__ import annotations

from ..clients.mail.imap import ImapClient
from ..report.observations import Measured
from ..stage.check import check
from ..stage.offers import IROH_RELAY_KEY, relay_in_metadata
from ..stage.outcome import Outcome
from ..stage.stage import Stage
from ..steps.mail import logged_in

__all__ = ["metadata_needs_login", "metadata_offers_a_relay"]

VALUE_FORMS = {"chatmail": "literal", "madmail": "quoted"}
"""Form of a METADATA value in each dialect."""


@check("DISC-1", "DISC-2", "IROH-6", "E2E-15", needs=("iroh_relay",))
def metadata_offers_a_relay(stage: Stage, outcome: Outcome) -> None:
    """After login, METADATA gives the URL of the target's own relay, in both request forms, as its dialect writes."""
    with logged_in(stage, stage.target.new_account()) as imap:
        url = relay_in_metadata(stage.target, imap, stage.host)
        outcome.observe(Measured("iroh relay in METADATA", str(url)))
        single = imap.get_metadata(IROH_RELAY_KEY, form="single").get(IROH_RELAY_KEY)
        parenthesised = imap.get_metadata(IROH_RELAY_KEY, form="list").get(IROH_RELAY_KEY)
    outcome.expect(
        single == parenthesised,
        f"GETMETADATA answers {single} to the single form and {parenthesised} to the parenthesised one",
    )
    form = VALUE_FORMS.get(stage.target.dialect)
    if form is None:
        outcome.note(f"the form of values was not checked: unknown dialect {stage.target.dialect}")
        return
    outcome.expect(
        parenthesised is not None and parenthesised.form == form,
        f"the value should be written as a {form} in the dialect {stage.target.dialect}, it is {parenthesised}",
    )


@check("DISC-7", "E2E-15", needs=("iroh_relay",))
def metadata_needs_login(stage: Stage, outcome: Outcome) -> None:
    """Before login, GETMETADATA is refused in both forms, and the refusal leaks no value."""
    url = str(stage.own_relay()).rstrip("/")
    for request in (IROH_RELAY_KEY, f"({IROH_RELAY_KEY})"):
        with ImapClient(stage.host, stage.target) as imap:
            answer = imap.command(f'GETMETADATA "" {request}')
        said = b" ".join(answer.untagged).decode("utf-8", "replace") + answer.text
        outcome.expect(
            answer.status in ("NO", "BAD"), f"GETMETADATA before login was answered with {answer.status}"
        )
        outcome.expect(
            url not in said and IROH_RELAY_KEY not in said,
            "GETMETADATA before login told a value to a stranger",
        )
