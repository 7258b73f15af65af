"""Test 16, WebXDC Realtime, as madmail's stress run and tests import it."""

from deltachat_rpc_client import Account, DeltaChat

from harness.doors.madmail_suite.importable import new_account, prove

__all__ = ["run"]


def run(dc: DeltaChat, domain: str) -> tuple[Account, Account]:
    """Prove that two devices exchange realtime messages. Returns two configured accounts of `dc` at `domain`.

    Raises AssertionError with the reason.
    """
    prove(16, domain)
    return new_account(dc, domain), new_account(dc, domain)
