"""The ledger remembers within bounds, and only when asked to."""

from __future__ import annotations

from reference_server import ledger as module
from reference_server.ledger import Ledger


def test_counts_what_happened():
    ledger = Ledger("iroh_relay", enabled=True, clock=lambda: 7.0)
    ledger.event("login", node_id="aa")
    connection = ledger.connection("relay", "127.0.0.1:5")
    connection.bytes_in += 3
    ledger.pair("aa", "bb").frames += 1
    ledger.pair("aa", "bb").bytes += 1200
    ledger.closed(connection)
    snapshot = ledger.snapshot()
    assert snapshot["events"] == [{"time": 7.0, "kind": "login", "node_id": "aa"}]
    assert [(c["remote"], c["bytes_in"], c["closed"]) for c in snapshot["connections"]] == [
        ("127.0.0.1:5", 3, 7.0)
    ]
    assert [(p["source"], p["frames"], p["bytes"]) for p in snapshot["pairs"]] == [("aa", 1, 1200)]


def test_remembers_nothing_unless_asked():
    ledger = Ledger("mail", enabled=False)
    ledger.event("login", user="a@b")
    ledger.connection("imaps", "127.0.0.1:5")
    ledger.pair("aa", "bb").frames += 1
    snapshot = ledger.snapshot()
    assert snapshot["enabled"] is False
    assert snapshot["events"] == snapshot["connections"] == snapshot["pairs"] == []


def test_forgets_the_oldest_and_says_how_many(monkeypatch):
    for bound in ("MAX_EVENTS", "MAX_CONNECTIONS", "MAX_PAIRS"):
        monkeypatch.setattr(module, bound, 3)
    ledger = Ledger("mail", enabled=True)
    for number in range(5):
        ledger.event("login", user=str(number))
        ledger.connection("imaps", str(number))
        ledger.pair("aa", str(number))
    snapshot = ledger.snapshot()
    assert [event["user"] for event in snapshot["events"]] == ["2", "3", "4"]
    assert [connection["remote"] for connection in snapshot["connections"]] == ["2", "3", "4"]
    assert [pair["destination"] for pair in snapshot["pairs"]] == ["2", "3", "4"]
    forgotten = {key: value for key, value in snapshot.items() if key.endswith("_forgotten")}
    assert forgotten == {"events_forgotten": 2, "connections_forgotten": 2, "pairs_forgotten": 2}
