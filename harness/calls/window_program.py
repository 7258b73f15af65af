"""The program of a call window: Delta Chat's own call UI in Chromium. `python -P -m harness.calls.window_program`.

It is driven by JSON lines (see `process`), with the log directory as its argument: pictures of what a person sees go
there. It is the messenger around the UI as well, by the interface that the UI's README describes: what the UI wants to
send comes out as offer and answer, what the other side sent goes in by the hash of the URL, and buttons are pressed as
a person would. `window.js` gives it microphone and camera, and counts.

Two more commands than those of all peers: `ring` (`settings`, `sdp`) opens the window of a call that comes in, and
`dismiss` closes it unanswered. And two more events: `shown` (`status`, `buttons`), whenever what a person can read has
changed, and `dismissed`.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import select
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..clients.browser.call_ui import find_call_ui
from ..clients.browser.chromium import BrowserError, Chromium
from ..errors import plain
from ..scratch import scratch_directory
from ..text import clean
from ..waiting import WaitTimeout, wait_until
from .media import FRAME_SAMPLES, PERIOD, SAMPLE_RATE, Noise, is_dark, read_cells
from .quality import AudioRecording, MachineTooSlow, Picture, judge_audio, judge_video
from .window_sound import decoded
from .window_stats import plain_stats, rtp_counts

SCRIPT = Path(__file__).with_name("window.js")
ANSWER, END = "Answer call", "End call"
MICROPHONE = {True: "Mute microphone", False: "Unmute microphone"}
"""Label of the button by what it is now: on or off."""
CAMERA = {True: "Stop camera", False: "Start camera"}
SAID_WITHIN = 50.0
"""Seconds until the UI has an offer or an answer: a TURN server that does not answer costs libwebrtc forty."""
READY_WITHIN = 10.0
FEW_ANSWERS = 20
"""Answers of a page in that time; one that is asked for what it does not have gives four in a second."""
LOOK_EVERY = 0.2
"""Seconds from one look at the page to the next."""
STATS_EVERY = 0.2
"""Seconds: who waits asks all the time, and asking costs the page time that it needs for the call."""
CLOCK = (time.time() - time.monotonic()) * 1000
"""Milliseconds by which the unix time is ahead of the monotonic clock."""
CHUNK = 1 << 16


class NoRelayCandidate(Exception):
    """A TURN server was given, and the offer or answer has no candidate of type relay."""


class CallWindow:
    """One window, for one call."""

    def __init__(self, browser: Chromium, page: Path, pictures: Path) -> None:
        """`pictures`: path without its end of what a person sees, as files."""
        self._browser = browser
        self._page = page
        self._pictures = pictures
        self._pictured: list[str] = []
        self._settings: Mapping[str, Any] = {}
        self._refused: list[str] = []
        self._last: dict[str, Any] | None = None
        """Stats of a call that has ended."""
        self._asked = 0.0
        self._open = False

    def offer(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        self._load(settings, "startCall")
        return {"sdp": self._said("offer")}

    def ring(self, settings: Mapping[str, Any], sdp: str) -> dict[str, Any]:
        """The window of a call that comes in; nobody has answered yet."""
        self._load(settings, f"offerIncomingCall={_encoded(sdp)}")
        self._wait_for_button(ANSWER)
        self._picture("Incoming call")
        return {}

    def answer(self, settings: Mapping[str, Any], sdp: str) -> dict[str, Any]:
        if not self._open:
            self.ring(settings, sdp)
        self._browser.press(ANSWER)
        return {"sdp": self._said("answer")}

    def set_answer(self, sdp: str) -> dict[str, Any]:
        self._browser.ask("(hash) => { location.hash = hash; }", f"#onAnswer={_encoded(sdp)}")
        return {}

    def mute(self, audio: bool, video: bool) -> dict[str, Any]:
        for buttons, muted in ((MICROPHONE, audio), (CAMERA, video)):
            labels = self._browser.ask(
                "() => [...document.querySelectorAll('button')].map((each) => each.getAttribute('aria-label'))"
            )
            if buttons[muted] in labels:
                self._browser.press(buttons[muted])
        return {}

    def pause(self, paused: bool) -> dict[str, Any]:
        self._browser.ask("(paused) => harness.pause(paused)", paused)
        if paused:
            self._picture("in call")
        return {}

    def send(self, count: int) -> dict[str, Any]:
        self._browser.ask("(count) => harness.send(count)", count)
        return {}

    def stats(self) -> dict[str, Any]:
        if self._last is None:
            threading.Event().wait(max(0.0, self._asked + STATS_EVERY - time.monotonic()))
            self._asked = time.monotonic()
            return plain_stats(self._browser.ask("() => harness.stats()"), self._settings)
        return self._last

    def sent(self) -> dict[str, list[float]]:
        """Monotonic seconds. Of sound: of every frame of the noise, also those before the call was up."""
        found = self._browser.ask("() => harness.sent()")
        sent = {"audio": list(_played(found["started"], found["played"], found["segments"]))}
        if self._settings["video"]:
            sent["video"] = [each / 1000 for each in found["shown"]]
        return sent

    def report(self, sent: Mapping[str, Sequence[float]]) -> dict[str, Any]:
        findings: dict[str, Any] = {"audio": None, "video": None}
        expected = self._settings["expect"]
        if "audio" in sent:
            others = [Noise(self._settings["stream"])]
            heard = judge_audio(self._heard(), Noise(expected), others=others, sent=sent["audio"])
            findings["audio"] = vars(heard) | {
                "gaps": [vars(each) for each in heard.gaps],
                "jumps": [vars(each) for each in heard.jumps],
            }
        if frames := sent.get("video"):
            seen = judge_video(self._seen(), expected, last_sent=len(frames) - 1, until=frames[-1])
            findings["video"] = vars(seen)
        findings["rtp"] = rtp_counts(self._browser.ask("() => harness.stats()"))
        return findings

    def close(self) -> dict[str, Any]:
        """Hang up as a person does; the window of a call that has ended goes."""
        if not self._open or self._last is not None:
            return {}
        self._picture("in call")
        self._browser.press(END)
        wait_until(self._ended, "the call UI to end the call", within=READY_WITHIN)
        self._last = plain_stats(self._browser.ask("() => harness.ended()"), self._settings)
        _write({"event": "ended", "time": time.time()})
        self._picture("ended")
        return {}

    def dismiss(self) -> dict[str, Any]:
        """Close the window, as a messenger does when the call was taken or declined on another device."""
        self.look()
        self._browser.open("about:blank")
        self._open = False
        _write({"event": "dismissed", "time": time.time()})
        return {}

    def look(self) -> None:
        """Tell what has happened in the page since the last look."""
        if not self._open or self._last is not None:
            return
        shown = ""
        for event in self._browser.ask("() => harness.take()"):
            kind, at = event.pop("kind"), event.pop("time") / 1000
            if kind == "refused":
                self._refused.append(_refusal(event))
            else:
                _write({"event": kind, "time": at, **event})
            if kind == "shown":
                shown = " ".join(event["status"])
            elif kind == "connection" and event["state"] == "failed":
                self._picture("connection failed")
        if shown and "P2P" not in shown:
            self._picture(shown)

    def _load(self, settings: Mapping[str, Any], command: str) -> None:
        if not settings["audio"]:
            raise BrowserError("the call UI always sends sound: it has no call without")
        self._settings = settings
        noise = Noise(settings["stream"])
        period = round(PERIOD * SAMPLE_RATE)
        played = b"".join(noise.frame(number) for number in range(-(-period // FRAME_SAMPLES)))[: 2 * period]
        given = {
            "iceServers": json.dumps([_ice_server(each) for each in settings["ice_servers"]]),
            "policy": settings["policy"],
            "video": settings["video"] or (320, 240, 15),
            "stream": settings["stream"],
            "noise": base64.b64encode(played).decode(),
            "mutes": list(settings["mutes"]),
            "clock": CLOCK,
        }
        function = SCRIPT.read_text().strip().rstrip(";")
        self._browser.before_each_page(f"({function})({json.dumps(given)})")
        self._open = True
        query = "" if settings["video"] else "?noOutgoingVideoInitially"
        self._browser.open(f"{self._page.as_uri()}{query}#{command}")
        self._wait_for_button(END)

    def _wait_for_button(self, label: str) -> None:
        """Raises `BrowserError` for a page that is another than we know, `MachineTooSlow` for one that hardly ran."""
        answers = 0

        def is_there() -> bool:
            nonlocal answers
            found = bool(self._browser.ask("(label) => harness.has(label)", label))
            answers += 1
            return found

        try:
            wait_until(is_there, f"button {label!r}", within=READY_WITHIN)
        except WaitTimeout:
            if answers < FEW_ANSWERS:
                raise MachineTooSlow(
                    f"machine too slow (the page answered {answers} times in {READY_WITHIN:g} s)"
                ) from None
            raise BrowserError(
                f"the call UI has no button {label!r} after {READY_WITHIN:g} s: it is another UI, or another version "
                "of it, than this harness knows"
            ) from None

    def _said(self, what: str) -> str:
        """What the UI hands to the messenger. Raises `NoRelayCandidate` if it has no way through TURN."""

        def said() -> str | None:
            self.look()
            found = self._browser.ask("(what) => harness.said(what)", what)
            return None if found is None else str(found)

        try:
            sdp = wait_until(said, f"the {what} of the call UI", within=SAID_WITHIN)
        except WaitTimeout:
            raise BrowserError(f"the call UI had no {what} after {SAID_WITHIN:g} s") from None
        self.look()
        urls = [
            url for each in self._settings["ice_servers"] for url in each["urls"] if url.startswith("turn")
        ]
        if urls and " typ relay" not in sdp and not self._is_connected():
            reasons = sorted(set(self._refused)) or [
                "it refused, or did not answer; the browser does not say"
            ]
            raise NoRelayCandidate(f"no relay candidate from {', '.join(urls)}: {'; '.join(reasons)}")
        return sdp

    def _is_connected(self) -> bool:
        """True where the way is there before the answer is: libwebrtc looks for no more candidates then."""
        return self._browser.ask("() => harness.stats()")["ice"] in ("connected", "completed")

    def _ended(self) -> bool:
        return bool(self._browser.ask("(what) => harness.said(what)", "ended"))

    def _heard(self) -> AudioRecording:
        found = self._browser.ask("() => harness.heard()")
        return decoded(
            (arrival / 1000, timestamp, base64.b64decode(packet)) for arrival, timestamp, packet in found
        )

    def _seen(self) -> list[Picture]:
        found = []
        for arrival, width, height, luma in self._browser.ask("() => harness.seen()"):
            picture = base64.b64decode(luma), width, height, width
            found.append(Picture(arrival / 1000, read_cells(*picture), dark=is_dark(*picture)))
        return found

    def _picture(self, state: str) -> None:
        """Keep what a person sees in this state, once."""
        if state in self._pictured:
            return
        self._pictured.append(state)
        name = re.sub(r"\W+", "-", state.lower()).strip("-")
        file = self._pictures.with_name(f"{self._pictures.name}.{len(self._pictured)}-{name}.png")
        file.write_bytes(self._browser.screenshot())


def _played(started: float, until: float, segments: Sequence[Mapping[str, Any]]) -> Iterator[float]:
    """For each frame of the noise when it was played. Times inside are those of the audio context, in ms."""
    length = 1000 * FRAME_SAMPLES / SAMPLE_RATE
    number = 0
    while (at := started + number * length) < until:
        offset = next(each["offset"] for each in reversed(segments) if each["from"] <= at)
        yield (at + (offset or 0.0)) / 1000
        number += 1


def _encoded(sdp: str) -> str:
    return quote(base64.b64encode(sdp.encode()).decode(), safe="")


def _ice_server(server: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in server.items() if value is not None}


def _refusal(event: Mapping[str, Any]) -> str:
    """An `icecandidateerror` in words; 701 is what libwebrtc says when nothing answers."""
    url = clean(str(event["url"]), 100)
    if event["code"] == 701:
        return f"{url} did not answer"
    return f"{url} refused it: {event['code']} {clean(str(event['text']), 100)}".rstrip()


def _write(message: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _commands() -> Iterator[Mapping[str, Any] | None]:
    """What is asked, until stdin ends; None where there was nothing for a while."""
    waiting = b""
    while True:
        ready, _, _ = select.select([sys.stdin], [], [], LOOK_EVERY)
        if not ready:
            yield None
            continue
        more = os.read(sys.stdin.fileno(), CHUNK)
        if not more:
            return
        *lines, waiting = (waiting + more).split(b"\n")
        yield from map(json.loads, lines)


def _obey(window: CallWindow, request: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to one command."""
    fields = {key: value for key, value in request.items() if key not in ("id", "command")}
    try:
        result = getattr(window, request["command"])(**fields)
        return {"id": request["id"], "ok": True, "result": result}
    except Exception as error:
        if not isinstance(error, NoRelayCandidate):  # that is an answer, and no fault of ours
            logging.exception("%s failed", request["command"])
        return {"id": request["id"], "ok": False, "kind": type(error).__name__, "error": plain(error)}


def main(log_directory: str, name: str, ca_file: str = "") -> int:
    """Run one window until stdin ends; 1 if the browser does not start, or ends by itself."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    logs = Path(log_directory)
    with scratch_directory("browser") as directory:
        try:
            page = directory / "index.html"
            shutil.copyfile(find_call_ui().page, page)
            log = logs / f"{name}.chromedriver.log"
            with Chromium(directory, log, trusted=Path(ca_file) if ca_file else None) as browser:
                window = CallWindow(browser, page, logs / f"{name}.window")
                _write({"event": "ready", "time": time.time(), "version": browser.version})
                for request in _commands():
                    if request is not None:
                        _write(_obey(window, request))
                    window.look()
        except BrowserError as error:
            sys.stderr.write(f"{error}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
