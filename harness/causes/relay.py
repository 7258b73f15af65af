"""Causes at the iroh relay: where it is, what stands in front of it, and whether it relays."""

from __future__ import annotations

from .cause import Cause, Weight
from .checks import REALTIME, RELAY

__all__ = ["CAUSES"]

NO_REALTIME = "Apps on two phones do not find each other: no realtime data at all."
DEAD = (*RELAY, *REALTIME)
PROXY = (
    "location /relay { proxy_pass http://127.0.0.1:3340; proxy_http_version 1.1; proxy_set_header Upgrade "
    "$http_upgrade; proxy_set_header Connection $connection_upgrade; proxy_set_header Host $host; "
    "proxy_read_timeout 1d; proxy_buffering off; }"
)
PUBLIC_CA = (
    "Use a certificate of a public CA with its whole chain, or plain http:// : realtime data is encrypted end to "
    "end without TLS, too."
)

CAUSES = (
    # Where it is
    Cause(
        "relay.name_does_not_resolve",
        "METADATA names a host as the iroh relay that does not exist.",
        "A name server answers, and says that there is no such name, or that it has no address.",
        NO_REALTIME,
        {
            "dns": "Add an A record for the name.",
            "madmail": "`iroh_relay_url` in `imap { }` must have a host that resolves.",
        },
        DEAD,
    ),
    Cause(
        "relay.name_silent",
        "No name server says where the iroh relay is.",
        "The question was asked several times; no answer came, or one that says `try again` (SERVFAIL).",
        NO_REALTIME,
        {
            "dns": "Look at the name servers of the domain (`dig +trace NAME`): are they up, are signatures valid?"
        },
        DEAD,
    ),
    Cause(
        "relay.address_dead",
        "The name of the iroh relay has an address at which nobody answers.",
        "Every address of the name was tried by itself: one answers, another does not.",
        "Devices that take that address first come late into a swarm, or not at all.",
        {
            "dns": "Take the address out of the zone, or let the relay listen there too.",
            "iroh-relay": 'http_bind_addr = "[::]:3340" listens on both families.',
        },
        ("relay.relay_is_reachable",),
    ),
    Cause(
        "relay.address_foreign",
        "METADATA sends clients to somebody else's iroh relay.",
        "Every address of the host in METADATA was looked up; there are such that the mail server does not have.",
        "Realtime data depends on a server that nobody here runs, and that sees who talks with whom.",
        {
            "madmail": "`iroh_relay_url` in `imap { }` must be this server.",
            "chatmail relay": "`iroh_relay` in chatmail.ini: leave it out to run its own.",
            "anywhere": "If that host is yours, say so: --also-ours HOST.",
        },
        ("discovery.metadata_offers_a_relay", *DEAD),
    ),
    Cause(
        "relay.port_closed",
        "The iroh relay does not run where METADATA says.",
        "Its address answers, and refuses the connection to the port of the relay.",
        NO_REALTIME,
        {
            "madmail": "The relay is a child of madmail, and madmail does not notice its end: `systemctl restart "
            "madmail`. `iroh_relay_url` must name its port (3340).",
            "chatmail relay": "`systemctl status iroh-relay`, `journalctl -u iroh-relay`.",
            "anywhere": "Start iroh-relay, and see that it listens at the public address, not at 127.0.0.1: `ss "
            "-lntp`. For a container, publish the port (`-p 3340:3340`).",
        },
        DEAD,
    ),
    Cause(
        "relay.port_filtered",
        "A firewall swallows connections to the iroh relay.",
        "Nothing comes back from the port, not even a refusal, while another port of the same address answers.",
        NO_REALTIME,
        {
            "firewall": "nft add rule inet filter input tcp dport 3340 accept (the port of the URL in METADATA), "
            "and the same in the firewall of the provider.",
        },
        DEAD,
    ),
    # TLS
    Cause(
        "relay.scheme_wrong",
        "METADATA names the iroh relay with the wrong scheme: http for https, or the other way round.",
        "At the port of the URL TLS fails and plain HTTP is answered, or plain HTTP fails and TLS works.",
        NO_REALTIME,
        {
            "madmail": "`iroh_relay_url` in `imap { }`: `http://HOST:3340` for a plain relay, `https://` where "
            "TLS answers.",
            "anywhere": "The scheme of the URL in METADATA must be what the port speaks.",
        },
        DEAD,
    ),
    Cause(
        "relay.certificate_untrusted",
        "The certificate of the iroh relay is vouched for by nobody that Delta Chat knows.",
        "It was read from the port: it is signed by itself or by a private CA, or an intermediate certificate is "
        "missing. Only public CAs count here: iroh has them compiled in, whatever a device or --ca-file says.",
        NO_REALTIME + " Devices try for half a minute, and say nothing.",
        {
            "madmail": "`iroh_relay_url http://HOST:3340`. " + PUBLIC_CA,
            "iroh-relay": PUBLIC_CA,
            "nginx": "`ssl_certificate` must be fullchain.pem of a public CA.",
        },
        DEAD,
    ),
    Cause(
        "relay.certificate_expired",
        "The certificate of the iroh relay has expired.",
        "It was read from the port; its last day is before today.",
        NO_REALTIME,
        {
            "nginx": "Renew the certificate, and reload nginx: it goes on with the old one until then.",
            "iroh-relay": 'Renew the certificate, and restart iroh-relay (or `cert_mode = "Reloading"`).',
        },
        DEAD,
    ),
    Cause(
        "relay.certificate_wrong_name",
        "The certificate of the iroh relay is for another name.",
        "It was read from the port: the names in it do not include the host of the URL.",
        NO_REALTIME,
        {
            "anywhere": "Let the URL in METADATA have the name of the certificate, or get one for the name in the "
            "URL."
        },
        DEAD,
    ),
    # What stands in front of it
    Cause(
        "relay.proxy_drops_upgrade",
        "The proxy in front of the iroh relay does not pass on `Upgrade`.",
        "HTTP is answered; the upgrade gets another status than 101 (the proxy's name is in `Server:`), while the "
        "relay behind it answers plain requests.",
        NO_REALTIME,
        {"nginx": PROXY},
        (*RELAY[:1], *REALTIME),
    ),
    Cause(
        "relay.proxy_http_1_0",
        "The proxy in front of the iroh relay speaks HTTP/1.0 to it.",
        "The upgrade is answered with 101, and then the connection is closed, or the answer breaks off: a relay "
        "does so with HTTP/1.0.",
        NO_REALTIME,
        {"nginx": "`proxy_http_version 1.1;` is missing. " + PROXY},
        (*RELAY[:1], *REALTIME),
    ),
    Cause(
        "relay.proxy_http2_only",
        "What stands at the iroh relay's port speaks HTTP/2 alone.",
        "An HTTP/1.1 request is answered with an HTTP/2 frame, or TLS insists on `h2`.",
        NO_REALTIME,
        {
            "nginx": "An upgrade needs HTTP/1.1: no `grpc_pass`, and a plain `listen` without `http2` on a port "
            "without TLS."
        },
        DEAD,
    ),
    Cause(
        "relay.proxy_times_out",
        "The proxy in front of the iroh relay ends quiet connections.",
        "The connection works, and is closed after a time of silence that is a proxy's (60 s is nginx's default).",
        "Devices lose the relay again and again; messages of a swarm get lost meanwhile.",
        {"nginx": "`proxy_read_timeout 1d; proxy_send_timeout 1d;` in `location /relay`."},
        ("relay.relay_connection_survives_idle", *REALTIME),
    ),
    Cause(
        "relay.proxy_drops_subprotocol",
        "The proxy in front of the iroh relay drops the WebSocket sub-protocol.",
        "The upgrade to a WebSocket is answered with 101 and without `Sec-WebSocket-Protocol`.",
        "None for Delta Chat of today, which uses the older upgrade; nodes of iroh 0.91 and later cannot connect.",
        {
            "nginx": "Do not set or clear `Sec-WebSocket-Protocol` (`proxy_set_header Sec-WebSocket-Protocol "
            "$http_sec_websocket_protocol`)."
        },
        ("relay_v1.*",),
        Weight.NOTE,
    ),
    Cause(
        "relay.upstream_dead",
        "The proxy runs, and the iroh relay behind it does not.",
        "Requests are answered with 502, 503 or 504 by the proxy, which `Server:` names.",
        NO_REALTIME,
        {
            "nginx": "`proxy_pass` must name the port at which iroh-relay listens (`ss -lntp`).",
            "chatmail relay": "`systemctl status iroh-relay`, `journalctl -u iroh-relay`.",
            "anywhere": "Start iroh-relay.",
        },
        DEAD,
    ),
    Cause(
        "relay.paths_missing",
        "Paths that monitoring and newer clients ask the iroh relay for are not there.",
        "GET /ping or /generate_204 is answered with another status than 200 and 204, while the relay itself works.",
        "None for Delta Chat of today: iroh 0.35 asks for neither. Nodes since 0.91 measure their relay by /ping.",
        {
            "nginx": "location /ping and location /generate_204 with `proxy_pass http://127.0.0.1:3340`, as for "
            "/relay."
        },
        ("relay.relay_answers_http", "relay_v1.relay_v1_carries_real_nodes"),
        Weight.NOTE,
    ),
    # The relay itself
    Cause(
        "relay.no_relay_there",
        "Something else than an iroh relay answers at the URL in METADATA.",
        "The port answers, and neither /relay nor the page at / is that of an iroh relay, or it does not speak "
        "HTTP at all.",
        NO_REALTIME,
        {
            "madmail": "`iroh_relay_url` must have the relay's port: `http://HOST:3340`.",
            "nginx": PROXY,
            "anywhere": "Let the URL name the port of iroh-relay.",
        },
        DEAD,
    ),
    Cause(
        "relay.generation_too_new",
        "The iroh relay is of a newer generation than the clients.",
        "It lets in nodes of iroh 0.91 and later, and answers the upgrade of 0.35, which every Delta Chat up to "
        "2.65 uses, with 400.",
        NO_REALTIME,
        {
            "anywhere": "Run iroh-relay 0.35 (`cargo install iroh-relay --version 0.35.0 --features server`), not "
            "0.9x or 1.x."
        },
        ("relay.*", *REALTIME, "services.relay_restarts_without_touching_mail"),
    ),
    Cause(
        "relay.access_restricted",
        "The iroh relay lets in chosen nodes only.",
        "The upgrade succeeded, a new node logged in with a right signature, and the relay said that it is not "
        "welcome.",
        NO_REALTIME,
        {"iroh-relay": '`access = "everyone"` in iroh-relay.toml: node IDs are new at each start of an app.'},
        DEAD,
    ),
    Cause(
        "relay.does_not_forward",
        "The iroh relay lets clients in, and does not bring them together.",
        "Two clients logged in, and what one sent to the other did not arrive, or arrived twice, changed or from "
        "another key.",
        NO_REALTIME,
        {
            "anywhere": "Restart iroh-relay, and look at its limits (`limits.client.rx`, `access`). Behind a load "
            "balancer both clients must come to the same relay.",
        },
        DEAD,
    ),
    Cause(
        "relay.limits_size",
        "Something at the iroh relay swallows large frames.",
        "Small frames between two clients arrive, one of 1,200 bytes and more does not.",
        "Devices find each other, and larger messages of apps get lost.",
        {
            "nginx": "Take limits of size and rate out of `location /relay` (`client_max_body_size 0; limit_rate "
            "0;`).",
            "anywhere": "An iroh relay must carry frames of up to 64 kB.",
        },
        ("relay.relay_forwards_each_frame_once", "relay_v1.relay_v1_forwards_each_datagram_once", *REALTIME),
    ),
)
