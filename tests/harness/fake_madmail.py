"""A program with madmail's command line that only listens: for tests of how it is started, disturbed and ended.

Like madmail it starts the program in CHATMAIL_IROH_RELAY_PATH as a child that it does not watch.
"""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path


def main() -> None:
    words = sys.argv[1:]
    if words == ["version"]:
        sys.stdout.write("madmail 2.0.0-fake\n")
        return
    config, state = Path(words[1]), Path(words[3])
    match words[4:]:
        case ["port", "iroh", "set", port]:
            (state / "relay-port").write_text(port)
        case ["reload", *_]:
            os.kill(int((state / "pid").read_text()), signal.SIGHUP)
        case ["run"]:
            run(config.read_text(), state)


def run(config: str, state: Path) -> None:
    (state / "pid").write_text(str(os.getpid()))
    listeners = [
        socket.create_server((address, int(port)))
        for line in config.splitlines()
        if not line.startswith("turn")
        for address, port in re.findall(r"(?:tcp|tls)://([\d.]+):(\d+)", line)
    ]
    relays = [start_relay(state)]
    signal.signal(signal.SIGHUP, lambda *_: relays.append(start_relay(state)))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.sendto(b"STATUS=listening\nREADY=1\n", os.environ["NOTIFY_SOCKET"])
    sys.stderr.write(f"listens at {len(listeners)} ports\n")
    while True:
        signal.pause()


def start_relay(state: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([os.environ["CHATMAIL_IROH_RELAY_PATH"], (state / "relay-port").read_text()])


if __name__ == "__main__":
    main()
