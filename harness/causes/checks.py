"""Checks that fail together, as patterns of their names."""

from __future__ import annotations

__all__ = ["CALLS", "DISCOVERY", "EVERYTHING", "REALTIME", "RELAY", "TURN"]

EVERYTHING = ("*",)
DISCOVERY = ("discovery.metadata_offers_a_relay", "turn.turn_is_offered", "turn.turns_is_offered")
TURN = (
    "turn.turn_grants_an_allocation",
    "turn.turn_allocates_with_offered_credentials",
    "turn.turn_refuses_wrong_credentials",
    "turn.turn_credentials_expire",
    "turn.turn_enforces_permissions",
    "turn_from_outside.*",
)
CALLS = ("calls.*", "calls_*.*", "names.core_finds_turn_by_its_name")
"""Calls that need TURN."""
RELAY = ("relay.*", "relay_v1.*", "services.relay_restarts_without_touching_mail")
REALTIME = ("realtime.*", "realtime_paths.*", "swarms.*", "ipv6.devices_without_ipv4_are_served")
"""Devices that find each other through the iroh relay."""
