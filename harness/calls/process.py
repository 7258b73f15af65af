"""Peers of calls that are processes of their own on a host, driven over JSON lines.

stdin takes `{"id": N, "command": NAME, ...}`, stdout gives `{"id": N, "ok": true, "result": ...}` or
`{"id": N, "ok": false, "kind": CLASS, "error": "a sentence"}`, and in between events `{"event": KIND, "time": unix
seconds, ...}`. The end of stdin closes the call and ends the program.

| command      | fields                    | result                                                              |
|--------------|---------------------------|---------------------------------------------------------------------|
| `offer`      | `settings`                | `{"sdp"}`; error `NoRelayCandidate`                                  |
| `answer`     | `settings`, `sdp`         | `{"sdp"}`, likewise                                                  |
| `set_answer` | `sdp`                     | `{}`                                                                 |
| `mute`       | `audio`, `video` (bools)  | `{}`: what is muted is silent or black, and the other side is told   |
| `pause`      | `paused`                  | `{}`: the sources send nothing                                       |
| `send`       | `count`                   | `{}`: from now on numbered messages, 100 a second, over a channel    |
| `stats`      |                           | `transport` (DTLS, RTP, RTCP: packets, bytes), pair, states, pace    |
| `sent`       |                           | when each frame was sent, by kind of media, monotonic seconds        |
| `report`     | `sent` of the other side  | `audio`, `video`: fields of the findings; `rtp`: packets             |
| `close`      |                           | `{}`; `stats` may still be asked                                     |

Events: `ready`, `ice`, `connection` (`state`), `channel` (`label`), `first` (`media`), `muted` (`audioEnabled`,
`videoEnabled`), `candidate` (`candidate`, null at the end).
`settings` are the fields of `peers.Settings`, and the `addresses` of the host.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..closing import Closing
from ..hosts import Host, end_process
from ..waiting import WaitTimeout, wait_until
from .peers import (
    NoRelayCandidate,
    Peer,
    PeerDied,
    PeerError,
    PeerEvent,
    Report,
    SelectedPair,
    Settings,
    Stats,
    Traffic,
)
from .quality import AudioFindings, Gap, Jump, MachineTooSlow, Pace, VideoFindings

__all__ = ["PeerProcess"]

ERRORS: Mapping[str, type[Exception]] = {each.__name__: each for each in (NoRelayCandidate, MachineTooSlow)}
"""Kinds of errors that are told apart; all others are `PeerError`."""
CLOSE_PATIENCE = 5.0
TAIL_LINES = 10


class PeerProcess(Closing):
    """A peer whose program is `command`; leaving `with` ends it whatever happens.

    `within`: seconds for each answer to a command; `MachineTooSlow` after that.
    """

    def __init__(
        self,
        command: Sequence[str],
        log_file: Path,
        name: str,
        *,
        host: Host,
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        within: float = 30.0,
    ) -> None:
        """`log_file`: gets its stderr; `environment`: variables besides ours; `pass_fds`: as those of `Popen`."""
        self.name = name
        self.within = within
        self._host = host
        self._ids = itertools.count(1)
        self._changed = threading.Condition()
        self._answers: dict[int, Mapping[str, Any]] = {}
        self._events: list[PeerEvent] = []
        self._ended = False
        self.has_connection = False
        self.description = ""
        log_file.parent.mkdir(parents=True, exist_ok=True)
        self.log_file = log_file
        with self.log_file.open("wb") as stderr:
            self._process = self._host.start_program(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
                process_group=0,
                pass_fds=pass_fds,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def offer(self, settings: Settings) -> str:
        self.has_connection = True
        return str(self._ask("offer", settings=self._plain(settings))["sdp"])

    def answer(self, settings: Settings, offer: str) -> str:
        self.has_connection = True
        return str(self._ask("answer", settings=self._plain(settings), sdp=offer)["sdp"])

    def set_answer(self, answer: str) -> None:
        self._ask("set_answer", sdp=answer)

    def mute(self, *, audio: bool, video: bool = False) -> None:
        self._ask("mute", audio=audio, video=video)

    def pause(self, paused: bool = True) -> None:
        self._ask("pause", paused=paused)

    def send_numbers(self, count: int) -> None:
        self._ask("send", count=count)

    def stats(self) -> Stats:
        found = self._ask("stats")
        transport, pair = found["transport"], found["pair"]
        return Stats(
            traffic=Traffic(
                transport["packetsSent"],
                transport["bytesSent"],
                transport["packetsReceived"],
                transport["bytesReceived"],
            ),
            pair=None
            if pair is None
            else SelectedPair(
                pair["local"],
                (pair["local_address"][0], pair["local_address"][1]),
                pair["remote"],
                (pair["remote_address"][0], pair["remote_address"][1]),
            ),
            ice=found["ice"],
            connection=found["connection"],
            pace={kind: Pace(**each) for kind, each in found["pace"].items()},
            numbers_sent=found["numbers_sent"],
            numbers_received=found["numbers_received"],
            numbers_in_order=found["numbers_in_order"],
            pictures_not_sent=found.get("pictures_not_sent", 0),
            pictures_dropped=found.get("pictures_dropped", 0),
            stood_still=found.get("stood_still", 0.0),
        )

    def sent(self) -> Mapping[str, Sequence[float]]:
        return self._ask("sent")

    def report(self, other: Peer) -> Report:
        found = self._ask("report", sent=other.sent())
        rtp = found["rtp"]
        return Report(
            audio=None if found["audio"] is None else _audio_findings(found["audio"]),
            video=None if found["video"] is None else _video_findings(found["video"]),
            packets=rtp["received"],
            packets_lost=rtp["lost"],
            packets_duplicated=rtp["duplicates"],
            packets_reordered=rtp["reordered"],
        )

    def hang_up(self) -> None:
        self._ask("close")

    def events(self, kind: str, **fields: Any) -> tuple[PeerEvent, ...]:
        with self._changed:
            return tuple(self._matching(kind, fields))

    def wait_for(self, kind: str, what: str | None = None, *, within: float, **fields: Any) -> PeerEvent:

        def happened() -> PeerEvent | None:
            found = next(self._matching(kind, fields), None)
            if found is None and self._ended:
                raise self._died()
            return found

        return wait_until(
            happened,
            f"{what or kind} at the peer {self.name}",
            within=within,
            seen=self._describe,
            woken_by=self._changed,
        )

    def close(self) -> None:
        """Close the call, end the process and reap it. A second call does nothing."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):  # it is ended below
            self._process.stdin.close()
            if self.events("ready"):  # it closes its call, and with it the allocations, before it ends
                self._process.wait(CLOSE_PATIENCE)
        end_process(self._process, patience=CLOSE_PATIENCE)
        self._reader.join()
        self._process.stdout.close()

    def _plain(self, settings: Settings) -> dict[str, Any]:
        return {**asdict(settings), "addresses": [self._host.address]}

    def _ask(self, command: str, **fields: Any) -> Mapping[str, Any]:
        number = next(self._ids)
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(
                json.dumps({"id": number, "command": command, **fields}).encode() + b"\n"
            )
            self._process.stdin.flush()
        except (OSError, ValueError) as error:
            raise self._died() from error

        def answered() -> Mapping[str, Any] | None:
            answer = self._answers.pop(number, None)
            if answer is None and self._ended:
                raise self._died()
            return answer

        what = f"the answer of peer {self.name} to {command}"
        try:
            answer = wait_until(answered, what, within=self.within, woken_by=self._changed)
        except WaitTimeout as error:
            # Gathering candidates, the longest that depends on others, ends after 5 s in aiortc and 40 in libwebrtc.
            raise MachineTooSlow(f"machine too slow ({error})") from error
        if not answer["ok"]:
            raise ERRORS.get(answer["kind"], PeerError)(f"{self.name}: {answer['error']}")
        result: Mapping[str, Any] = answer["result"]
        return result

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            with self._changed:
                if "event" in message:
                    event = PeerEvent(message.pop("time"), message.pop("event"), message)
                    self._events.append(event)
                else:
                    self._answers[message["id"]] = message
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _matching(self, kind: str, fields: Mapping[str, Any]) -> Iterator[PeerEvent]:
        for event in self._events:
            if event.kind == kind and all(event.fields.get(name) == each for name, each in fields.items()):
                yield event

    def _describe(self) -> str:
        with self._changed:
            states = [f"{each.kind} {each.fields.get('state', '')}".strip() for each in self._events]
        return ", ".join(states) or "no events"

    def _died(self) -> PeerDied:
        tail = self.log_file.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        said = "\n  ".join(tail) if tail else "(nothing)"
        return PeerDied(f"the peer {self.name} has ended. The end of {self.log_file}:\n  {said}")


def _audio_findings(found: Mapping[str, Any]) -> AudioFindings:
    return AudioFindings(
        **{
            **found,
            "gaps": tuple(Gap(**each) for each in found["gaps"]),
            "jumps": tuple(Jump(**each) for each in found["jumps"]),
            "stalls": tuple(found["stalls"]),
            "others": {int(stream): part for stream, part in found["others"].items()},
            "delays": tuple(found["delays"]),
        }
    )


def _video_findings(found: Mapping[str, Any]) -> VideoFindings:
    return VideoFindings(
        **{
            **found,
            "foreign": {int(stream): count for stream, count in found["foreign"].items()},
            "freezes": tuple(found["freezes"]),
            "delays": tuple(found["delays"]),
        }
    )
