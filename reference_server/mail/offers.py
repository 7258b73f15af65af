"""Services that METADATA names to clients, as an operator switches them while the server runs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .settings import MailSettings

__all__ = ["Offers"]


@dataclass
class Offers:
    """Those of the settings are offered unless they are switched off here."""

    turn: bool = True
    iroh: bool = True

    def within(self, settings: MailSettings) -> MailSettings:
        """The settings without the addresses of what is off."""
        if not self.turn:
            settings = replace(settings, turn_address=None, turns_address=None, turn_secret_file=None)
        return settings if self.iroh else replace(settings, iroh_relay_url=None)
