"""Servers that carry everything right and say something else about it."""

from __future__ import annotations

from . import relay, turn
from .declaration import Kill, Mutant

__all__ = ["LYING_LEDGERS"]

LYING_LEDGERS = (
    Mutant(
        "relay_ledger_claims_double",
        "strategy",
        "iroh_relay",
        relay.claiming_too_much,
        "the relay says that it carried twice as much as it did",
        (
            # Between public addresses all but the first packets go direct.
            Kill("realtime_paths.two_devices_go_direct", "joining: disagreement", needs=("nft", "conntrack")),
            Kill("realtime_paths.two_devices_are_relayed", "established: disagreement"),
            Kill("swarms.an_isolated_device_is_lost_alone", "isolated: disagreement"),
            Kill("swarms.a_cut_link_loses_nothing", "joining: disagreement"),
            Kill("swarms.a_change_loses_little", "afterwards: disagreement"),
        ),
    ),
    Mutant(
        "relay_ledger_claims_nothing",
        "strategy",
        "iroh_relay",
        relay.claiming_nothing,
        "the relay says that it carried nothing",
        (Kill("realtime_paths.two_devices_are_relayed", "the relay's ledger has from devices: 0 packets"),),
    ),
    Mutant(
        "turn_ledger_doubles",
        "strategy",
        "turn",
        turn.reporting_twice_as_much,
        "the ledger of TURN claims twice as much as was carried",
        (Kill("turn.turn_allocates_with_offered_credentials", "the ledger of TURN counts"),),
    ),
    Mutant(
        "turn_ledger_has_nothing",
        "strategy",
        "turn",
        turn.reporting_nothing,
        "the ledger of TURN has none of the packets that were carried",
        (Kill("turn.turn_allocates_with_offered_credentials", "the ledger of TURN counts"),),
    ),
)
