"""Test 15, Iroh Discovery, as madmail's stress run and tests import it."""

from deltachat_rpc_client import Account, DeltaChat

from harness.doors.madmail_suite.importable import new_account, prove

__all__ = ["run"]


def run(dc: DeltaChat, domain: str) -> Account:
    """Prove that the server at `domain` offers a relay that works. Returns a configured account of `dc` there.

    Raises AssertionError with the reason.
    """
    prove(15, domain)
    return new_account(dc, domain)
