"""Servers that carry everything right and say something else about it."""

from __future__ import annotations

from typing import Any

from reference_server.iroh_relay.settings import RelaySettings
from reference_server.ledger import Ledger
from reference_server.programs import standard_program
from reference_server.service import Service
from reference_server.turn.ledger import TurnLedger
from reference_server.turn.settings import TurnSettings

from .declaration import mutant


class DoublingLedger(Ledger):
    """Claims `factor` times the bytes of each connection."""

    factor = 2

    def snapshot(self) -> dict[str, Any]:
        found = super().snapshot()
        for connection in found["connections"]:
            connection["bytes_in"] *= self.factor
            connection["bytes_out"] *= self.factor
        return found


class SilentLedger(DoublingLedger):
    factor = 0


@mutant(
    "iroh_relay",
    "the relay says that it carried twice as much as it did",
    kills={
        "realtime_paths.two_pairs_take_both_ways_at_once": "established: disagreement",
        "realtime_paths.two_devices_go_direct": "joining: disagreement",
        "realtime_paths.two_devices_are_relayed": "established: disagreement",
        "swarms.isolating_one_device_affects_no_other": "isolated: disagreement",
        "swarms.blocking_a_direct_path_loses_no_message": "joining: disagreement",
        "swarms.swarm_recovers_from_a_change": "afterwards: disagreement",
    },
)
def relay_ledger_claims_double(settings: RelaySettings) -> Service:
    ledger = DoublingLedger("iroh_relay", enabled=settings.ledger)
    return standard_program("iroh_relay")(settings, ledger=ledger)


@mutant(
    "iroh_relay",
    "the relay says that it carried nothing",
    kills={"realtime_paths.two_devices_are_relayed": "the relay's ledger has from devices: 0 packets"},
)
def relay_ledger_claims_nothing(settings: RelaySettings) -> Service:
    ledger = SilentLedger("iroh_relay", enabled=settings.ledger)
    return standard_program("iroh_relay")(settings, ledger=ledger)


class DoublingTurnLedger(TurnLedger):
    """Claims `factor` times the payloads of each peer."""

    factor = 2

    def snapshot(self) -> dict[str, Any]:
        found = super().snapshot()
        peers = [peer for allocation in found["allocations"] for peer in allocation["peers"]]
        directions = [peer[direction] for peer in peers for direction in ("to_peer", "to_client")]
        for count in (count for direction in directions for count in direction.values()):
            count["packets"] *= self.factor
            count["bytes"] *= self.factor
        return found


class EmptyTurnLedger(DoublingTurnLedger):
    factor = 0


@mutant(
    "turn",
    "the ledger of TURN claims twice as much as was carried",
    kills={"turn.turn_allocates_with_offered_credentials": "the ledger of TURN counts"},
)
def turn_ledger_doubles(settings: TurnSettings) -> Service:
    return standard_program("turn")(settings, ledger=DoublingTurnLedger(enabled=settings.ledger))


@mutant(
    "turn",
    "the ledger of TURN has none of the packets that were carried",
    kills={"turn.turn_allocates_with_offered_credentials": "the ledger of TURN counts"},
)
def turn_ledger_has_nothing(settings: TurnSettings) -> Service:
    return standard_program("turn")(settings, ledger=EmptyTurnLedger(enabled=settings.ledger))


class ControlIsTraffic(TurnLedger):
    """Says of every allocation that it carried what its client and the server only said to each other."""

    def snapshot(self) -> dict[str, Any]:
        found = super().snapshot()
        for each in found["allocations"]:
            said = each["control"]
            traffic = {"to_peer": {"rtp": said["in"]}, "to_client": {"rtp": said["out"]}}
            each["peers"].append({"peer": "others", "channel": None, **traffic})
        return found


@mutant(
    "turn",
    "the ledger says that control messages were carried media",
    kills={"calls.direct_call_leaves_the_relay_alone": "the call is direct, but the server carried"},
)
def turn_ledger_counts_control(settings: TurnSettings) -> Service:
    return standard_program("turn")(settings, ledger=ControlIsTraffic(enabled=settings.ledger))
