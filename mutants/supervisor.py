"""Servers whose services are managed in a wrong way."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from reference_server.__main__ import main
from reference_server.supervisor import ServiceProcess, Supervisor

__all__ = ["restarting_everything_together"]


class OneUnit(Supervisor):
    """As with one systemd unit for everything: whatever is restarted, all of it is."""

    async def restart(self, service: ServiceProcess, first: signal.Signals) -> None:
        del service
        for each in self.services:
            await super().restart(each, first)


def restarting_everything_together(arguments: Sequence[str]) -> int:
    return main(arguments, supervisor=OneUnit)
