"""Mutants that only counters at the edges of a lab find out."""

from __future__ import annotations

from . import relay
from .declaration import Kill, Mutant

__all__ = ["IN_LABS"]

IN_LABS = (
    Mutant(
        "relay_ledger_claims_double",
        "strategy",
        "iroh_relay",
        relay.claiming_too_much,
        "the relay says that it carried twice as much as it did",
        (
            Kill("realtime_paths.two_devices_go_direct", "joining: disagreement"),
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
)
