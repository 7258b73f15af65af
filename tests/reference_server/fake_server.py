"""A program of the fork server: the real supervisor over services that do nothing."""

from __future__ import annotations

import json
import os
from dataclasses import asdict

from reference_server.__main__ import main as serve
from reference_server.errors import ConfigurationError
from reference_server.ledger import Ledger


class FakeService:
    def __init__(self, name: str, settings) -> None:
        self.name = name
        self.settings = json.loads(json.dumps(asdict(settings), default=str))
        self.ledger = Ledger(name, enabled=True)

    async def start(self):
        if os.environ.get("FAKE_FAILURE") == self.name:
            raise ConfigurationError("the moon is in the wrong house")
        self.ledger.event("started", pid=os.getpid(), settings=self.settings)
        return {f"{self.name}_pid": os.getpid()}

    async def close(self):
        pass


def main() -> int:
    return serve(programs=lambda name: lambda settings: FakeService(name, settings))
