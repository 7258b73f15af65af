"""Servers whose services are managed in a wrong way."""

from __future__ import annotations

import signal
from typing import Any

from reference_server.supervisor import ServiceProcess, Supervisor

from .declaration import mutant


class OneUnit(Supervisor):
    """As with one systemd unit for everything: whatever is restarted, all of it is."""

    async def restart(self, service: ServiceProcess, first: signal.Signals) -> None:
        del service
        for each in self.services:
            await super().restart(each, first)


@mutant(
    "supervisor",
    "restarting the relay restarts mail with it",
    kills={
        "services.relay_restarts_without_touching_mail": (
            "connections to mail did not live on while the relay was restarted"
        )
    },
)
def relay_restart_ends_mail(*arguments: Any, **options: Any) -> Supervisor:
    return OneUnit(*arguments, **options)
