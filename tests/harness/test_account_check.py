"""The check of log-ins, on servers of both dialects whose domain is an address, and on wrong ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.checks.accounts import log_ins_are_for_this_server_only
from harness.report.records import Verdict
from harness.stage.outcome import Outcome
from harness.target import Target
from reference_server.mail import dialects
from reference_server.mail.settings import Dialect, MailSettings, PasswordHashCost
from reference_server.tls import issue_development_certificate
from tests.reference_server.mail.running import RunningMail

from .stages import stage_with

LISTENERS = ("imaps", "imap", "submissions", "submission", "https")
Judge = Callable[[Dialect], Outcome]


@pytest.fixture
def judge(tmp_path: Path) -> Iterator[Judge]:
    with ExitStack() as servers:

        def judge(dialect: Dialect) -> Outcome:
            issued = issue_development_certificate(tmp_path / "tls", ["127.0.0.1"])
            ports: dict[str, Any] = {f"{name}_port": 0 for name in LISTENERS}
            mail = RunningMail(
                MailSettings(
                    **ports,
                    state=tmp_path / "state",
                    domain="[127.0.0.1]",
                    dialect=dialect,
                    tls_cert=issued.certificate_file,
                    tls_key=issued.key_file,
                    tls_ca=issued.ca_file,
                    password_hash_cost=PasswordHashCost.LOW,
                )
            )
            servers.callback(mail.stop)
            target = Target(
                name="mail",
                host="127.0.0.1",
                domain="[127.0.0.1]",
                **{name: mail.ports[name] for name in LISTENERS},
                ca_file=issued.ca_file,
                dialect=str(dialect),
            )
            return log_ins_are_for_this_server_only(stage_with(target, tmp_path))

        yield judge


@pytest.mark.parametrize("dialect", Dialect)
def test_a_right_server_passes(judge: Judge, dialect: Dialect) -> None:
    outcome = judge(dialect)
    assert outcome.verdict is Verdict.PASSED, outcome.reason


def test_a_madmail_that_knows_no_bare_address_fails(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    habits = replace(dialects.DIALECTS[Dialect.MADMAIL], bare_ip_is_literal=False)
    monkeypatch.setattr("reference_server.mail.accounts.DIALECTS", {Dialect.MADMAIL: habits})
    outcome = judge(Dialect.MADMAIL)
    assert outcome.verdict is Verdict.FAILED
    assert "IMAP refused" in outcome.reason
    assert "@127.0.0.1, which should be " in outcome.reason
