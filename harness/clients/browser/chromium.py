"""Chromium without a screen, on the machine that this process is on, driven by chromedriver through Selenium.

It is the one of the distribution: nothing is downloaded. Where we may, it runs as a user of its own, with a home and a
profile in a directory that goes with it; what a browser says by itself is switched off, and it resolves no names.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...closing import Closing
from ...errors import plain
from ...hosts import WITH_ITS_PARENT, MissingCapability
from ...text import clean
from .trust import trust

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

__all__ = ["SETUP", "BrowserError", "Chromium", "require_chromium"]

SETUP = "./setup --browser"
"""The command that brings everything that is missing."""
PROGRAMS = {"chromium": "Chromium", "chromedriver": "chromedriver", "certutil": "certutil"}
OWN = ("profile", "home", "temporary")
FIRST_USER, USERS = 61184, 4336
"""Users of nobody, which systemd gives to services as well (DynamicUser)."""
LOAD_WITHIN = 20.0
SCRIPT_WITHIN = 20.0
LONGEST_REASON = 300
NO_NAMES = ("MAP * ~NOTFOUND", *(f"EXCLUDE *{digit}" for digit in range(10)))
"""Rules by which no name has an address. IPv4 addresses, which end with a digit, are what they are: TURN over TCP goes
through the resolver as well."""
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # it needs namespaces of users, which containers refuse; the user of its own takes its place
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--window-size=480,640",
    "--remote-debugging-pipe",  # no port; and it ends when chromedriver does
    # Nothing by itself
    "--no-first-run",
    "--no-default-browser-check",
    "--no-pings",
    "--no-service-autorun",
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-client-side-phishing-detection",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-sync",
    "--metrics-recording-only",
    "--password-store=basic",
    "--disable-features=MediaRouter,DialMediaRouteProvider,OptimizationHints,Translate,CertificateTransparencyComponentUpdater,"
    "AudioServiceOutOfProcess",  # one process less, as the next one
    "--in-process-gpu",
    f"--host-resolver-rules={','.join(NO_NAMES)}",
    # A page that nobody looks at is as fast as any other
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    # Microphone and camera are there, and allowed
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
)
ASK = """
const done = arguments[arguments.length - 1];
Promise.resolve().then(() => (%s)(...Array.from(arguments).slice(0, -1)))
  .then((value) => done([true, value]), (error) => done([false, String(error)]));
"""


class BrowserError(Exception):
    """The browser, or a page in it, did not do what it was asked. The text is a sentence."""


class Chromium(Closing):
    """A browser with one page."""

    def __init__(self, directory: Path, log: Path, *, trusted: Path | None = None) -> None:
        """`directory`: for everything that it writes; it must be empty, and is the caller's to remove. `trusted`: file
        with certificates that it trusts besides the system's. Raises `BrowserError` if it does not start."""
        from selenium.common.exceptions import WebDriverException  # noqa: PLC0415 - optional, and slow to load
        from selenium.webdriver import Chrome, ChromeOptions  # noqa: PLC0415
        from selenium.webdriver.chrome.service import Service  # noqa: PLC0415

        self.directory = directory
        options = ChromeOptions()
        options.binary_location = _path("chromium")
        flags = _own_directories(directory, trusted)
        for flag in (*FLAGS, *flags, f"--user-data-dir={directory / 'profile'}"):
            options.add_argument(flag)
        with log.open("wb") as output:  # by its name, it would have to be a file of chromedriver's own user
            service = Service(str(_launcher(directory)), log_output=output, env=_environment(directory))
            try:
                self._driver: WebDriver = Chrome(options=options, service=service)
            except (WebDriverException, OSError) as error:
                raise BrowserError(f"Chromium does not start: {_words(error)}") from error
        self._driver.set_page_load_timeout(LOAD_WITHIN)
        self._driver.set_script_timeout(SCRIPT_WITHIN)

    @property
    def version(self) -> str:
        return str(self._driver.capabilities["browserVersion"])

    def before_each_page(self, script: str) -> None:
        """Run a script in every page that is opened from now on, before anything of its own."""
        with _plain_errors("the browser does not take a script"):
            self._driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})

    def open(self, url: str) -> None:
        """Returns when the page has loaded."""
        with _plain_errors(f"the page did not load within {LOAD_WITHIN:g} s"):
            self._driver.get(url)

    def ask(self, function: str, *arguments: Any) -> Any:
        """The value of a function of JavaScript, also when that is a promise."""
        with _plain_errors(f"the page gave no answer within {SCRIPT_WITHIN:g} s"):
            is_value, found = self._driver.execute_async_script(ASK % function, *arguments)
        if not is_value:
            raise BrowserError(f"a script failed in the page: {clean(str(found), LONGEST_REASON)}")
        return found

    def press(self, label: str) -> None:
        """Click the button that is called so for those who do not see it. Raises `BrowserError` if there is none."""
        with _plain_errors(f"the page has no button {label!r}"):
            self._driver.find_element("css selector", f'[aria-label="{label}"]').click()

    def screenshot(self) -> bytes:
        """The page as PNG."""
        with _plain_errors("the page cannot be drawn"):
            return bytes(self._driver.get_screenshot_as_png())

    def close(self) -> None:
        """A second call does nothing."""
        with contextlib.suppress(Exception):  # whatever is left of it ends with our keeper
            self._driver.quit()


def require_chromium() -> None:
    """Raise `MissingCapability`, with the command that heals it, where there is no browser to drive."""
    if importlib.util.find_spec("selenium") is None:
        raise MissingCapability("chromium", "selenium is not installed", heal=SETUP)
    for name, title in PROGRAMS.items():
        if shutil.which(name) is None:
            raise MissingCapability("chromium", f"{title} is not installed", heal=SETUP)


def _path(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise BrowserError(f"{PROGRAMS[name]} is not installed: {SETUP}")
    return found


def _own_directories(directory: Path, trusted: Path | None) -> list[str]:
    """Make everything that the browser writes to. Returns the flags with which it trusts these certificates."""
    for name in OWN:
        (directory / name).mkdir(mode=0o700)
    if trusted is None:
        return []
    try:
        return trust(directory / "home", trusted, _path("certutil"))
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise BrowserError(f"certutil cannot make a browser trust {trusted}: {plain(error)}") from error


def _launcher(directory: Path) -> Path:
    """A program that becomes chromedriver, as a user of its own if we may, and ends with us."""
    user = FIRST_USER + os.getpid() % USERS
    become: tuple[str, ...] = ()
    try:
        for each in (path for name in OWN for path in (directory / name, *(directory / name).rglob("*"))):
            os.chown(each, user, user)
        directory.chmod(0o711)
        become = (f"--reuid={user}", f"--regid={user}", "--clear-groups")
    except OSError:
        pass  # an ordinary user, or root of a namespace that has no other users: it runs as we do
    setpriv, *rest = WITH_ITS_PARENT
    launcher = directory / "chromedriver"
    words = shlex.join([setpriv, *become, *rest, _path("chromedriver")])
    launcher.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    launcher.chmod(0o755)
    return launcher


def _environment(directory: Path) -> dict[str, str]:
    """Everything that it writes is below the directory; its language is the one whose labels we know."""
    home = str(directory / "home")
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": home,
        "XDG_CONFIG_HOME": home,
        "XDG_CACHE_HOME": home,
        "TMPDIR": str(directory / "temporary"),
        "LANG": "C.UTF-8",
    }


@contextlib.contextmanager
def _plain_errors(timeout: str) -> Iterator[None]:
    """Turn what Selenium raises into one sentence; `timeout` is that of what it waited for or looked for."""
    from selenium.common.exceptions import (  # noqa: PLC0415
        NoSuchElementException,
        TimeoutException,
        WebDriverException,
    )
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    try:
        yield
    except (TimeoutException, NoSuchElementException) as error:
        raise BrowserError(timeout) from error
    except (WebDriverException, HTTPError, OSError, subprocess.SubprocessError) as error:
        raise BrowserError(f"the browser has ended, or does not answer: {_words(error)}") from error


def _words(error: Exception) -> str:
    said = getattr(error, "msg", None) or str(error)
    return clean(str(said).strip().partition("\n")[0], LONGEST_REASON) or type(error).__name__
