"""Debian's nginx in front of the iroh relay, with what people write into its configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.hosts import Host
from harness.network.namespace import program
from harness.servers.process import Process, accepts

from .certificates import Issued

__all__ = ["ELSE_NOT_FOUND", "PROBES", "RELAY", "Front", "start_nginx"]

RELAY = """\
location /relay {
    proxy_pass http://UPSTREAM;
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection "upgrade";
}
"""
"""As in the nginx.conf of chatmail's relays."""
PROBES = """\
location /ping { proxy_pass http://UPSTREAM; proxy_http_version 1.1; }
location /generate_204 { proxy_pass http://UPSTREAM; proxy_http_version 1.1; }
"""
ELSE_NOT_FOUND = "location / { return 404; }\n"
CONFIG = """\
user root;
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr info;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen {address}:{port} {listen};
        {tls}
{locations}
    }}
}}
"""
WITHIN = 20.0


@dataclass(frozen=True)
class Front:
    """One server block of nginx."""

    locations: str = RELAY + PROBES + ELSE_NOT_FOUND
    """Text of its configuration, in which `UPSTREAM` is the address and port of the relay."""
    certificate: Issued | None = None
    listen: str = ""
    """Further words of its `listen`, such as `http2`."""


def start_nginx(
    host: Host, front: Front, *, address: str, port: int, upstream: str, directory: Path, log: Path
) -> Process:
    """A running nginx. `upstream`: address and port of the relay. Raises `MissingCapability`, `ServerError`."""
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "nginx.conf"
    tls = front.certificate
    config.write_text(
        CONFIG.format(
            directory=directory,
            address=address,
            port=port,
            listen=f"{'ssl ' if tls else ''}{front.listen}",
            tls=f"ssl_certificate {tls.chain}; ssl_certificate_key {tls.key};" if tls else "",
            locations=front.locations.replace("UPSTREAM", upstream),
        )
    )
    listens: Callable[[], bool] = lambda: accepts(host, address, port)  # noqa: E731
    process = Process(
        "nginx",
        host,
        [program("nginx"), "-c", config, "-e", "stderr"],
        log=log,
        ready=listens,
        ready_when=f"accept connections at {address}:{port}",
        within=WITHIN,
    )
    process.start()
    return process
