"""A server's program as an operator handles it: how it lets itself be replaced, and what it says under another name."""

from __future__ import annotations

from ..scratch import scratch_directory
from ..servers.server import Wants
from ..stage.check import check
from ..stage.outcome import Outcome
from ..stage.stage import Stage
from ..steps.mail import logged_in, mail_oneself, markers
from ..steps.programs import expect_another_name
from ..steps.upgrades import expect_signatures_matter
from ..target import Service

__all__ = ["renamed_programs_hide_their_name", "upgrades_need_the_right_signature"]

ALIAS = "udevmon7"
"""A name that nobody looks at twice."""


@check("E2E-10", needs=("own_program",))
def upgrades_need_the_right_signature(stage: Stage, outcome: Outcome) -> None:
    """A program replaces itself by nothing that its makers have not signed, and by nothing that does not run."""
    program = stage.server.program(Service.MAIL).executable
    assert program is not None, "whoever has the need `own_program` has its file"
    with scratch_directory("upgrade") as directory:
        expect_signatures_matter(stage.host, outcome, program, directory)


@check("E2E-18", needs=("own_program",), wants=Wants(program_name=ALIAS))
def renamed_programs_hide_their_name(stage: Stage, outcome: Outcome) -> None:
    """A program whose file has another name runs by that, tells paths and greetings without its own, and delivers."""
    account = stage.target.new_account()
    with logged_in(stage, account) as imap:
        mail_oneself(stage, account, "renamed")
        imap.select()
        outcome.expect(markers(imap) == ["renamed"], "a server with another name does not deliver mail")
    program = stage.server.program(Service.MAIL).executable
    assert program is not None, "whoever has the need `own_program` has its file"
    expect_another_name(stage, outcome, program)
