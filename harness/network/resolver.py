"""Name resolution for programs in a namespace: their private /etc/hosts and /etc/resolv.conf.

A program that is started inside reads these files by itself; we are outside, and ask with `lookup.resolve`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..scratch import scratch_directory
from .namespace import Namespace

__all__ = ["HOSTS", "RESOLV_CONF", "give_hosts", "give_name_servers"]

HOSTS = Path("/etc/hosts")
RESOLV_CONF = Path("/etc/resolv.conf")
NSSWITCH = Path("/etc/nsswitch.conf")
LOOPBACK = "127.0.0.1 localhost\n::1 localhost\n"
NSSWITCH_HOSTS = "hosts: files dns\n"


def give_name_servers(namespace: Namespace, addresses: Sequence[str]) -> None:
    """Let programs inside ask these name servers, and nobody else.

    `getaddrinfo` of glibc may be set up to ask a daemon over a Unix socket, which no network namespace holds back:
    inside, it looks into the files and asks the name servers. Raises `FileNotFoundError` where the machine has no
    /etc/resolv.conf: a file cannot be put in the place of none.
    """
    _give(namespace, RESOLV_CONF, "".join(f"nameserver {each}\n" for each in addresses))
    if NSSWITCH.exists():
        others = (line for line in NSSWITCH.read_text().splitlines() if not line.startswith("hosts:"))
        _give(namespace, NSSWITCH, "\n".join([*others, NSSWITCH_HOSTS]))


def give_hosts(namespace: Namespace, names: Mapping[str, Sequence[str]]) -> None:
    """Let /etc/hosts inside have these names with their addresses, and `localhost`."""
    lines = (f"{address} {name}\n" for name, addresses in names.items() for address in addresses)
    _give(namespace, HOSTS, LOOPBACK + "".join(lines))


def _give(namespace: Namespace, path: Path, text: str) -> None:
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist on this machine: nothing can be mounted there")
    with scratch_directory("names") as directory:  # the file's name may go when it is mounted
        file = directory / path.name
        file.write_text(text)
        file.chmod(0o644)
        namespace.replace_file(path, file)
