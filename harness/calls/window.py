"""Call windows: Delta Chat's own call UI in Chromium, each in a process of its own on a host (see `window_program`)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .. import keeper
from ..clients.browser.call_ui import find_call_ui
from ..clients.browser.chromium import require_chromium
from ..hosts import Host, LocalHost
from .peers import Settings
from .process import PeerProcess

__all__ = ["Window", "require_windows"]

KEEPER = (sys.executable, "-I", "-S", keeper.__file__)
WINDOW_COMMAND = (sys.executable, "-P", "-m", "harness.calls.window_program")


class Window(PeerProcess):
    """A peer that is Chromium; `with Window(...) as window:` ends it, and all that it started, whatever happens."""

    def __init__(
        self,
        logs: Path,
        name: str,
        *,
        host: Host | None = None,
        ca_file: Path | None = None,
        within: float = 60.0,
    ) -> None:
        """`ca_file`: as in `Agent`. Raises `MissingCapability` where there is no browser, or no UI."""
        require_windows()
        trusted = [] if ca_file is None else [str(ca_file)]
        with Path(os.devnull).open("wb") as nobody:  # the keeper tells there who its program is
            super().__init__(
                (*KEEPER, str(os.getpid()), str(nobody.fileno()), *WINDOW_COMMAND, str(logs), name, *trusted),
                logs / f"{name}.window.log",
                name,
                host=host or LocalHost(),
                pass_fds=(nobody.fileno(),),
                within=within,
            )
        self.description = f"Delta Chat's call UI {find_call_ui().version} in Chromium"

    def ring(self, settings: Settings, offer: str) -> None:
        """Show a call that comes in; `answer` takes it. No packet leaves before that."""
        self._ask("ring", settings=self._plain(settings), sdp=offer)

    def dismiss(self) -> None:
        """Close the window of a call that another device took or declined, as a messenger does."""
        self._ask("dismiss")


def require_windows() -> None:
    """Raise `MissingCapability`, with the command that heals it, where no call window can be opened."""
    require_chromium()
    find_call_ui()
