"""Causes at TURN: where it is, whether it answers, its credentials, and what it relays."""

from __future__ import annotations

from .cause import Cause, Weight
from .checks import CALLS, TURN

__all__ = ["CAUSES"]

NO_CALL = "No call connects unless both phones have a direct way to each other."
DEAD = (*TURN, *CALLS)
ONE_LINE = (
    "`turn_secret` in `imap { }` and `secret` in `turn { }` must be the same, byte for byte. Restart madmail."
)
OPEN_LISTENER = (
    "nft add rule inet filter input udp dport 3478 accept, and the same in the firewall of the provider."
)

CAUSES = (
    # Where it is
    Cause(
        "turn.name_does_not_resolve",
        "METADATA names a host as the TURN server that does not exist.",
        "A name server answers, and says that there is no such name, or that it has no address.",
        "Core gets no TURN server, and phones without a direct way cannot call.",
        {
            "dns": "Add an A record for the name.",
            "madmail": "`turn_server` in `imap { }` must be a name that resolves, or better the IPv4 address: "
            "that needs no name server at all.",
            "chatmail relay": "The name is the mail domain itself: look at its A record.",
        },
        (*DEAD, "names.turn_host_leads_to_the_target"),
    ),
    Cause(
        "turn.name_silent",
        "No name server says where the TURN server is.",
        "The question was asked several times; no answer came, one that says `try again` (SERVFAIL), or one so "
        "late that core has given up (5 s).",
        "Each first call waits for 5 s, and then has no TURN server.",
        {
            "dns": "Look at the name servers of the domain (`dig +trace NAME`): are they up, are signatures valid?",
            "madmail": "`turn_server` may be the IPv4 address: that needs no name server at all.",
        },
        (*DEAD, "names.turn_host_leads_to_the_target"),
    ),
    Cause(
        "turn.address_dead",
        "The name of the TURN server has an address at which nobody answers.",
        "Every address of the name was asked by itself with STUN: one answers, another does not.",
        "Phones ask every address, so calls begin seconds later, and some have no relay.",
        {
            "dns": "Take the address out of the zone, or let TURN listen there too. An AAAA record is only for a "
            "TURN server that has IPv6.",
            "coturn": "`listening-ip=` for each address, of IPv6 too.",
            "madmail": "`turn_server` may be the IPv4 address at which TURN listens.",
        },
        ("turn.turn_grants_an_allocation",),
    ),
    Cause(
        "turn.address_foreign",
        "METADATA sends clients to somebody else's TURN server.",
        "Every address of the host in METADATA was looked up; there are such that the mail server does not have.",
        "Phones send their credentials there, and calls depend on a server that nobody here runs.",
        {
            "madmail": "`turn_server` in `imap { }` must be this server.",
            "dns": "If the name is right, its record is old: it must have the addresses of the TURN server only.",
            "anywhere": "If that host is yours, say so: --also-ours HOST.",
        },
        ("turn.*", "turn_from_outside.*", "names.turn_host_leads_to_the_target", *CALLS),
    ),
    # Whether it answers
    Cause(
        "turn.not_answering",
        "TURN does not run where METADATA says.",
        "The address answers other ports; STUN at the UDP port is refused, or gets no answer, and nothing answers "
        "over TCP there either.",
        NO_CALL,
        {
            "madmail": "The word after `turn` decides the UDP listener: `turn udp://0.0.0.0:3478 "
            "tcp://0.0.0.0:3478 { ... }`, and `turn_port` in `imap { }` must be the same port. Then restart madmail.",
            "chatmail relay": "`systemctl status turnserver`, `journalctl -u turnserver`.",
            "coturn": "`systemctl status coturn`; `listening-port=3478`, and `listening-ip` must be the public "
            "address (or the inner one behind 1:1 NAT).",
            "firewall": OPEN_LISTENER,
        },
        DEAD,
    ),
    Cause(
        "turn.udp_filtered",
        "A firewall swallows UDP to the TURN server.",
        "STUN over UDP gets no answer, while the same server answers over TCP at the same port.",
        "Delta Chat uses TURN over UDP only: " + NO_CALL[:1].lower() + NO_CALL[1:],
        {"firewall": OPEN_LISTENER + " For a container, publish the port as UDP (`-p 3478:3478/udp`)."},
        DEAD,
    ),
    # Credentials
    Cause(
        "turn.secret_differs",
        "The mail server and the TURN server do not have the same secret.",
        "TURN answers; its realm is the one that was used; the user name has not expired by the server's own "
        "clock; the password of METADATA is refused all the same (401). Only the secret is left.",
        NO_CALL,
        {
            "madmail": ONE_LINE,
            "coturn": "`static-auth-secret` in turnserver.conf and the secret of the mail server (`turn_secret` "
            "in madmail's `imap { }`) must be the same, byte for byte, and `use-auth-secret` must be set. Then "
            "restart both.",
            "chatmail relay": "mail asks chatmail-turn for credentials: `systemctl restart turnserver "
            "chatmail-metadata`; another TURN server must not hold UDP 3478.",
        },
        DEAD,
    ),
    Cause(
        "turn.clock_wrong",
        "The server's clock is wrong, so that TURN credentials are not valid when they are given.",
        "The clock of its HTTP answers (`Date:`) is minutes or more apart from ours, and the credentials expire "
        "in the past by one of the two.",
        NO_CALL,
        {
            "anywhere": "`timedatectl set-ntp true` (or chrony), then `timedatectl` must say `synchronized: yes`. "
            "Restart TURN."
        },
        ("turn.turn_is_offered", *DEAD),
    ),
    Cause(
        "turn.expiry_in_milliseconds",
        "The expiry of the TURN credentials is in milliseconds, and must be in seconds.",
        "The number is a thousand times the time of now.",
        "TURN servers refuse the credentials, or accept them for 50,000 years.",
        {
            "anywhere": "The user name must be `now + ttl` in unix seconds. If you compute it yourself, divide by "
            "1000."
        },
        ("turn.turn_is_offered", *DEAD),
    ),
    Cause(
        "turn.credentials_expired",
        "METADATA gives TURN credentials that have expired already.",
        "The expiry lies in the past by the server's own clock, which is right.",
        NO_CALL,
        {
            "madmail": "`turn_ttl` in `imap { }` must be positive; 86400 is the default.",
            "chatmail relay": "`systemctl restart turnserver chatmail-metadata`: the value must be made anew at "
            "each request.",
            "anywhere": "Compute the credentials at each GETMETADATA; do not put a fixed value there.",
        },
        ("turn.turn_is_offered", *DEAD),
    ),
    Cause(
        "turn.secret_well_known",
        "Anybody can compute credentials for this TURN server.",
        "An allocation was granted to credentials that were made from a secret that is public: the default of a "
        "program, or none.",
        "Strangers relay whatever they like through the server, at its operator's cost and in its name.",
        {
            "madmail": "Put a new `turn_secret` (`openssl rand -base64 32`) into `imap { }` and the same `secret` "
            "into `turn { }`.",
            "coturn": "A new `static-auth-secret` (`openssl rand -base64 32`), the same in the mail server; "
            "`use-auth-secret`, and no `no-auth`.",
            "chatmail relay": "chatmail-turn 0.4 has its secret in its source: update it.",
        },
        ("turn.turn_refuses_wrong_credentials",),
    ),
    Cause(
        "turn.realm_differs",
        "TURN refuses the realm that it names itself.",
        "The realm of its 401 was used as it came; the answer is that it is wrong (437 from coturn, 401 "
        "elsewhere), and other realms do not work either.",
        NO_CALL,
        {
            "coturn": "One `realm=` in turnserver.conf; take others out, and `--use-auth-secret` users of another "
            "realm.",
            "madmail": "`realm` in `turn { }` must be one word, the host name.",
        },
        DEAD,
    ),
    # What it relays
    Cause(
        "turn.relayed_address_private",
        "TURN tells clients an address that nobody reaches from outside.",
        "An allocation was granted; the relayed address in it is private, loopback or link-local, while the "
        "server's is public.",
        "Calls ring and connect for nobody who needs the relay.",
        {
            "madmail": "`relay_ip PUBLIC_ADDRESS` in `turn { }`.",
            "coturn": "`external-ip=PUBLIC/INNER` in turnserver.conf (or `relay-ip=PUBLIC` without NAT).",
            "chatmail relay": "Behind 1:1 NAT chatmail-turn needs its public address: see its `--external-ip`, or "
            "bind the public address to the machine.",
        },
        DEAD,
    ),
    Cause(
        "turn.relayed_address_foreign",
        "TURN tells clients a relayed address that is not the server's.",
        "An allocation was granted; the relayed address in it is none of the addresses of the server.",
        "Calls that need the relay go nowhere, or to somebody else.",
        {
            "madmail": "`relay_ip` in `turn { }` must be the server's public address.",
            "coturn": "`external-ip` or `relay-ip` must be the server's public address.",
            "anywhere": "If that address is yours, say so: --also-ours HOST.",
        },
        DEAD,
    ),
    Cause(
        "turn.relay_ports_closed",
        "A firewall in front of the server drops UDP to the relay ports.",
        "Datagrams from here to the relayed address did not arrive (several tries, with a permission for us), "
        "while two clients that are both relayed hear each other.",
        "Calls where only one side needs TURN stay silent, or `connecting` for ever.",
        {
            "firewall": "nft add rule inet filter input udp dport 49152-65535 accept, and the same in the "
            "firewall of the provider. The range is that of the TURN server.",
            "madmail": "`relay_port_min` and `relay_port_max` in `turn { }` are the range.",
            "coturn": "`min-port` and `max-port` in turnserver.conf are the range.",
            "chatmail relay": "chatmail-turn has no range: open UDP 32768-60999 too (sysctl "
            "net.ipv4.ip_local_port_range).",
        },
        ("turn_from_outside.relayed_address_answers_a_plain_peer", "calls_paths.one_leg_call_is_relayed"),
    ),
    Cause(
        "turn.does_not_relay",
        "TURN gives out relayed addresses and carries nothing between them.",
        "Two allocations were granted, with permissions for each other; what one sent did not arrive at the other.",
        "Calls in which both sides need the relay stay silent.",
        {
            "firewall": "The server must reach its own public address: behind 1:1 NAT that needs a hairpin (NAT "
            "loopback), and input rules must allow UDP 49152-65535 from the server itself.",
            "coturn": "`allow-loopback-peers` is for tests on 127.0.0.1 alone; `denied-peer-ip` must not cover "
            "the server's own address.",
            "anywhere": "Look into the log of the TURN server for denied peers and for send errors.",
        },
        ("turn.turn_allocates_with_offered_credentials", *CALLS),
    ),
    Cause(
        "turn.calls_fail",
        "TURN does all that it is asked for, and a call through it does not work.",
        "Two real Delta Chat clients called each other, with the TURN server of METADATA as their only way; small "
        "datagrams pass through that very server, and the machine of the clients was fast enough.",
        "Calls in which a side needs the relay ring and stay silent, or `connecting` for ever.",
        {
            "firewall": "Large UDP datagrams must pass, in fragments, too: look for a rule on the length of packets, "
            "and for an MTU below 1280 on a tunnel in front of the server.",
            "coturn": "Take `max-bps` and `bps-capacity` out, or raise them: a call needs 50 kB/s each way.",
            "anywhere": "Look into the log of the TURN server at the time of the call.",
        },
        CALLS,
    ),
    Cause(
        "turn.reaches_private_peers",
        "TURN relays into the server's own network.",
        "Permissions for 127.0.0.1, 10.0.0.1 or 169.254.169.254 were granted.",
        "Anybody with an account reaches services that are meant for the server alone: databases, the cloud's "
        "metadata.",
        {
            "coturn": "`denied-peer-ip` for 0.0.0.0/8, 10/8, 100.64/10, 127/8, 169.254/16, 172.16/12, 192.168/16, "
            "and `no-multicast-peers`; never `allow-loopback-peers`.",
            "madmail": "2.23 has no setting: let the firewall drop what leaves the relay ports for these ranges "
            "(nft: output, meta skuid madmail, ip daddr { 10.0.0.0/8, ... } drop), and report it.",
            "anywhere": "Refuse such peers with 403.",
        },
        ("turn.turn_enforces_permissions",),
        Weight.RISK,
    ),
    Cause(
        "turn.turns_without_tls",
        "METADATA offers TURN over TLS at a port that does not speak TLS.",
        "The port of /shared/vendor/deltachat/turns was tried: nothing listens there over TCP, or what answers is "
        "no TLS.",
        "None for Delta Chat of today, which reads `turn` alone; clients to come would fail.",
        {
            "madmail": "2.x has no TLS for TURN, and gives out the UDP line again: nothing to change there. "
            "coturn in its place answers TLS at the same port.",
            "coturn": "`tls-listening-port=5349` with `cert=` and `pkey=`, and no `no-tls`.",
        },
        ("turn.turns_is_offered", "calls.relayed_call_over_tcp_and_tls"),
        Weight.NOTE,
    ),
    Cause(
        "turn.turns_certificate",
        "The certificate of TURN over TLS is not valid for its host.",
        "TLS was tried at the port of /shared/vendor/deltachat/turns: the certificate is expired, for another "
        "name, or of nobody that clients know.",
        "None for Delta Chat of today, which reads `turn` alone; clients to come would fail.",
        {
            "coturn": "`cert=` and `pkey=` must be the certificate (fullchain) of the host in METADATA; reload "
            "after renewal.",
        },
        ("turn.turns_is_offered", "calls.relayed_call_over_tcp_and_tls"),
        Weight.NOTE,
    ),
    Cause(
        "turn.redirect_loop",
        "TURN sends clients to another server, and that one on again.",
        "Allocate was answered with 300 Try Alternate; the server named there was asked once, as clients do, and "
        "did the same or does not answer.",
        NO_CALL,
        {
            "coturn": "Take `alternate-server` out of turnserver.conf, or let it name a server that serves by itself."
        },
        DEAD,
    ),
    Cause(
        "turn.quota_too_small",
        "TURN gives one address so few allocations that a second call fails.",
        "The first allocation was granted, the second one from the same address was refused (486).",
        "Of people behind one address, in a household or with one provider, one can call at a time.",
        {
            "coturn": "`user-quota` and `total-quota`: take them out or raise them (0 is none).",
            "anywhere": "Allow at least a hundred allocations per address.",
        },
        ("turn.turn_allocates_with_offered_credentials", "calls.*", "calls_*.*"),
    ),
)
