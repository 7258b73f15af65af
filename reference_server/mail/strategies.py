"""Behaviour in which right servers may differ, and in which a mutant is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .accounts import AccountRule, PasswordVerifier, may_create, verify_password
from .admin import AdminApi, Administered
from .delivery import Delivery, DurableDelivery, Notifier
from .federation.inbound import Intake, SignatureCheck
from .federation.policy import OutsidePolicy, encrypted_from_outside
from .federation.signatures import has_signature_of
from .imap.capabilities import Capabilities, capabilities
from .imap.states import ALLOWED_COMMANDS, AllowedCommands
from .policy import SubmissionPolicy, encrypted_only
from .smtp import SmtpConnection
from .store import Store
from .store_thread import StoreThread

__all__ = ["Strategies"]


@dataclass(frozen=True)
class Strategies:
    allowed_commands: AllowedCommands = field(default_factory=lambda: ALLOWED_COMMANDS)
    """IMAP commands by state; those of a state that are missing are refused."""
    capabilities: Capabilities = capabilities
    """The capabilities that IMAP announces."""
    make_store: Callable[[Path], Store] = Store
    """Keeps accounts and mail, and says whose mailbox a name stands for."""
    make_notifier: Callable[[], Notifier] = Notifier
    """Wakes the sessions that are in IDLE."""
    make_delivery: Callable[[StoreThread, Notifier], Delivery] = DurableDelivery
    """Decides when a message may be answered with 250."""
    submission: type[SmtpConnection] = SmtpConnection
    """Speaks with those who submit mail."""
    submission_policy: SubmissionPolicy = encrypted_only
    outside_policy: OutsidePolicy = encrypted_from_outside
    """Mail of other servers that is accepted, ..."""
    is_signed: SignatureCheck = has_signature_of
    """... of those that need a signature those that have one ..."""
    intake: type[Intake] = Intake
    """... and for whom, at port 25."""
    verify_password: PasswordVerifier = verify_password
    may_create: AccountRule = may_create
    make_admin: Callable[[str, Administered], AdminApi] = AdminApi
    """Answers operators who have the token."""
