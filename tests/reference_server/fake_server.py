"""The real supervisor over services that do nothing: `fake_server.py [server arguments]`.

As `fake_server.py service NAME [service arguments]` it is one of those services.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from reference_server.__main__ import main
from reference_server.ledger import Ledger
from reference_server.service import ConfigurationError, run


class FakeService:
    def __init__(self, name: str, arguments: list[str]) -> None:
        self.name = name
        self.arguments = arguments
        self.ledger = Ledger(name, enabled=True)

    async def start(self):
        if os.environ.get("FAKE_FAILURE") == self.name:
            raise ConfigurationError("the moon is in the wrong house")
        self.ledger.event("started", pid=os.getpid(), arguments=self.arguments)
        return {f"{self.name}_pid": os.getpid()}

    async def close(self):
        pass


def service(name: str, arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--control", type=Path)
    known, _others = parser.parse_known_args(arguments)
    return run(name, lambda: FakeService(name, arguments), control=known.control)


if __name__ == "__main__":
    if sys.argv[1:2] == ["service"]:
        sys.exit(service(sys.argv[2], sys.argv[3:]))
    sys.exit(main(command=lambda name, arguments: [sys.executable, __file__, "service", name, *arguments]))
