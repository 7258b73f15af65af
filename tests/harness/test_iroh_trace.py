import pytest

from harness.clients.core.iroh_trace import IrohTrace

ME = "\x1b[2m2026-11-22T14:06:18.83Z\x1b[0m \x1b[34mDEBUG\x1b[0m ep{me=743558052a}:magicsock"
# Lines of core 2.65.0 (iroh 0.35.0) on loopback.
TRACE = f"""\
{ME}:reportgen.actor:run_probe{{probe=STUN Ipv4 after 0ns to http://127.55.1.2:3340/}}: starting probe
{ME}:probe: probe set aborted: node: RelayNode {{ url: RelayUrl("http://127.55.1.2:3340/"), stun_only: false }}
{ME}:iroh::net_report::reportgen: sending StunIpv4 probe relay_addr=127.55.1.2:3478 txid=transaction id (0x58A1)
{ME}:actor: iroh::magicsock: home is now relay http://127.55.1.2:3340/, was None
{ME}:active-relay{{url=http://127.55.1.2:3340/}}:dialing: iroh_relay::client::tls: connecting to 127.55.1.2:3340
{ME}: iroh_relay::client::tls: TCP stream connected server_addr=Ok(127.55.1.2:3340) local_addr=127.0.0.1:54044
INFO connect{{me="743558052a" remote="6b18f689dd"}}: new connection type typ=relay(http://127.55.1.2:3340/)
INFO connect{{me="743558052a" remote="6b18f689dd"}}: new connection type typ=direct(127.0.0.1:54579)
a line of somebody else
"""


def test_the_facts_of_a_real_trace():
    assert IrohTrace.parse(TRACE) == IrohTrace(
        own_ids=frozenset({"743558052a"}),
        home_relays=("http://127.55.1.2:3340/",),
        relay_urls=frozenset({"http://127.55.1.2:3340"}),
        relay_sockets=("127.0.0.1:54044",),
        contacted=frozenset({"127.55.1.2:3478", "127.55.1.2:3340"}),
        connection_types=("relay(http://127.55.1.2:3340/)", "direct(127.0.0.1:54579)"),
    )


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("http://_one.example.:3340/", "http://_one.example:3340/"),
        ("https://relay.example./", "https://relay.example/"),
        ("https://relay.example/", "https://relay.example/"),
        ("http://[2001:db8::1]:3340/", "http://[2001:db8::1]:3340/"),
        ("http://127.55.1.2:3340/", "http://127.55.1.2:3340/"),
    ],
)
def test_names_of_home_relays_have_no_dot_at_their_end(written, url):
    assert IrohTrace.parse(f"{ME}: home is now relay {written}, was None\n").home_relays == (url,)


def test_nothing_is_foreign_on_the_target():
    assert IrohTrace.parse(TRACE).foreign({"127.55.1.2"}) == frozenset()


@pytest.mark.parametrize(
    ("line", "host"),
    [
        (
            "home is now relay https://euw1-1.relay.example.network./, was None",
            "euw1-1.relay.example.network",
        ),
        (
            "probe=STUN Ipv4 after 0ns to https://aps1-1.relay.example.network./}",
            "aps1-1.relay.example.network",
        ),
        ("sending StunIpv4 probe relay_addr=203.0.113.7:3478 txid=1", "203.0.113.7"),
        ("iroh_relay::client::tls: connecting to [2001:db8::1]:443", "2001:db8::1"),
        ("TCP stream connected server_addr=Ok([2001:db8::1]:443) local_addr=[::1]:5", "2001:db8::1"),
    ],
)
def test_each_trace_of_another_host_is_foreign(line, host):
    assert IrohTrace.parse(f"{TRACE}{line}\n").foreign({"127.55.1.2"}) == {host}


def test_an_empty_trace_has_no_facts():
    assert IrohTrace.parse("").hosts() == frozenset()
