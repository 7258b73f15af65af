"""One real iroh node: `python -m harness.clients.iroh_node_process`, started by `iroh_node.IrohNode`.

It runs in a network namespace that has nothing but a loopback interface, because every node of iroh 1.x looks for
routers with SSDP multicasts, and no setting of its Python package stops that. The relay's address exists in here as a
listening socket, which is handed to the other side; that one connects it to the real relay.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import secrets
import socket
import struct
import sys
from typing import Any

import iroh

from ...hosts import LocalHost
from ...urls import RelayUrl

ALPN = b"dc-harness/echo"
MAX_PAYLOAD = 1024 * 1024
CLOSED_BY_US = 0
SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8913, 0x8914
IFF_UP = 1
INTERFACE_REQUEST = struct.Struct("16sh14x")


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    stream = control.makefile("rw", encoding="utf-8")
    settings = json.loads(stream.readline())
    bring_loopback_up()
    with listen_as_relay(RelayUrl.parse(settings["relay"])) as listener:
        socket.send_fds(control, [b"\n"], [listener.fileno()])
    asyncio.run(run(settings["relay"], settings["token"], stream))


def bring_loopback_up() -> None:
    """netdevice(7); only root of this namespace may, which we are."""
    with LocalHost().socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = fcntl.ioctl(any_socket, SIOCGIFFLAGS, INTERFACE_REQUEST.pack(b"lo", 0))
        _, flags = INTERFACE_REQUEST.unpack(request)
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, INTERFACE_REQUEST.pack(b"lo", flags | IFF_UP))


def listen_as_relay(url: RelayUrl) -> socket.socket:
    family = socket.AF_INET6 if ":" in url.host else socket.AF_INET
    listener = LocalHost().socket(family, socket.SOCK_STREAM)
    listener.bind((url.host, url.port))
    listener.listen()
    return listener


async def run(relay: str, token: str | None, stream: Any) -> None:
    """Answer requests, one JSON object per line, until the other side closes."""
    endpoint = await bind(relay, token)
    await endpoint.online()
    echo = asyncio.create_task(echo_to_everybody(endpoint))
    answer: dict[str, Any] = {"node_id": str(endpoint.id())}
    while True:
        stream.write(json.dumps(answer) + "\n")
        stream.flush()
        line = await asyncio.to_thread(stream.readline)
        if not line:
            break
        try:
            answer = await exchange(endpoint, relay, **json.loads(line))
        except iroh.IrohError as error:
            answer = {"error": error.message()}
    echo.cancel()
    await endpoint.close()


async def bind(relay: str, token: str | None) -> Any:
    """A node that knows this one relay: no other relays, no DNS, no publishing of its address."""
    relays = iroh.RelayMap.empty()
    relays.insert(iroh.RelayConfig(url=relay, quic_port=None, auth_token=token))
    options = iroh.EndpointOptions(
        preset=iroh.preset_minimal(), alpns=[ALPN], relay_mode=iroh.RelayMode.custom(relays)
    )
    return await iroh.Endpoint.bind(options)


async def exchange(endpoint: Any, relay: str, peer: str, messages: int, size: int) -> dict[str, Any]:
    """Send random messages to a node, which has to send each of them back."""
    address = iroh.EndpointAddr(iroh.EndpointId.from_string(peer), relay, [])
    connection = await endpoint.connect(address, ALPN)
    right = 0
    for _ in range(messages):
        payload = secrets.token_bytes(size)
        both = await connection.open_bi()
        await both.send().write_all(payload)
        await both.send().finish()
        right += await both.recv().read_to_end(MAX_PAYLOAD) == payload
    paths = [[path.remote_addr, path.is_relay] for path in connection.paths()]
    connection.close(CLOSED_BY_US, b"done")
    return {"echoed": right, "paths": paths}


async def echo_to_everybody(endpoint: Any) -> None:
    tasks = set()
    while (incoming := await endpoint.accept_next()) is not None:
        task = asyncio.create_task(echo_to(incoming))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


async def echo_to(incoming: Any) -> None:
    try:
        connection = await (await incoming.accept()).connect()
        while True:
            both = await connection.accept_bi()
            await both.send().write_all(await both.recv().read_to_end(MAX_PAYLOAD))
            await both.send().finish()
    except iroh.IrohError:
        return  # the other node has closed the connection


if __name__ == "__main__":
    main()
