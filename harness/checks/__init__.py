"""Promises, and nothing else: each room has a module."""

ROOMS = (
    "tls",
    "discovery",
    "relay",
    "relay_v1",
    "realtime",
    "realtime_paths",
    "swarms",
    "mail",
    "durability",
    "accounts",
    "administration",
    "privacy",
    "chats",
    "services",
    "turn",
    "turn_from_outside",
    "names",
    "calls",
    "calls_lifetimes",
    "calls_many",
    "calls_interrupted",
    "calls_paths",
    "calls_changes",
    "ipv6",
)
"""The modules, in the order of a report."""
