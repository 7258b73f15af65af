"""A scenario: one check as one test of pytest.

    test_call_survives_eleven_minutes = scenario(calls_lifetimes.call_survives_lifetimes, seconds=660, nightly=True)

Promises, capabilities, the server as it is wanted and the sentence come from the check itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ..report.records import Verdict
from ..stage.check import entry_of
from ..stage.outcome import Outcome
from ..stage.stage import Stage

__all__ = ["expect_passed", "scenario"]

LEFT_OUT = {Verdict.SKIPPED, Verdict.UNSUPPORTED, Verdict.NOT_REACHED}


def scenario(
    check: Callable[..., Outcome], *, nightly: bool = False, as_it_is: bool = False, **parameters: Any
) -> Callable[[Stage], None]:
    """A test that runs a check with these parameters.

    `nightly`: it takes minutes, and runs with `-m nightly`. `as_it_is`: on the server as it is, whatever the check
    wants of one, such as credentials that expire soon.
    """
    entry = entry_of(check)

    def test(dc_stage: Stage) -> None:
        expect_passed(check(replace(dc_stage, as_it_is=as_it_is), **parameters))

    test.__doc__ = entry.sentence
    test = pytest.mark.dc_check(entry)(test)
    return pytest.mark.nightly(test) if nightly else test


def expect_passed(outcome: Outcome) -> None:
    """Skip the running test for what was left out, with its reason, and fail it for anything but a pass."""
    if outcome.verdict in LEFT_OUT:
        pytest.skip(f"{outcome.verdict}: {outcome.reason}")
    if outcome.verdict is not Verdict.PASSED:
        pytest.fail(f"{outcome.verdict}: {outcome.reason}", pytrace=False)
