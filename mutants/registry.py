"""Every mutant: its name, what is wrong with it, and which check must kill it with which words.

The declaration comes before the run. A kill counts only if the named check ends with verdict `failed` and its
reason contains the phrase; errors, crashes and unexplained time-outs are no kills.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from . import mail, relay, supervisor, turn

__all__ = ["MUTANTS", "Kill", "Mutant"]

Run = Callable[[Sequence[str]], int]
"""Runs one service of the server, or the supervisor, with its usual arguments until a signal; returns the exit code."""


@dataclass(frozen=True)
class Kill:
    """The check that must fail, by its registered name, and words that its reason must contain."""

    check: str
    phrase: str


@dataclass(frozen=True)
class Mutant:
    """A reference server with one wrong behaviour in one service, or in the supervisor of all."""

    name: str
    kind: Literal["settings", "wire", "strategy"]
    service: Literal["mail", "iroh_relay", "turn", "supervisor"]
    run: Run
    wrong: str
    killed_by: tuple[Kill, ...]


_ALL = (
    Mutant(
        "irohrelay_missing",
        "settings",
        "mail",
        mail.without_relay_url,
        "METADATA has no iroh relay, so clients use public ones",
        (Kill("discovery.metadata_offers_a_relay", "METADATA has no value for"),),
    ),
    Mutant(
        "irohrelay_dead_port",
        "settings",
        "mail",
        mail.with_dead_relay_url,
        "METADATA names a port where nothing listens",
        (
            Kill("relay.relay_answers_http", "nothing answers at the relay URL"),
            Kill("relay.relay_forwards_each_frame_once", "nothing answers at the relay URL"),
        ),
    ),
    Mutant(
        "irohrelay_foreign",
        "settings",
        "mail",
        mail.with_foreign_relay_url,
        "METADATA names the relay of somebody else",
        (
            Kill("discovery.metadata_offers_a_relay", "offers the relay of somebody else"),
            Kill("realtime.two_devices_exchange_messages", "offers the relay of somebody else"),
        ),
    ),
    Mutant(
        "irohrelay_unusable",
        "settings",
        "mail",
        mail.with_unusable_relay_url,
        "METADATA has a value that is no URL",
        (Kill("discovery.metadata_offers_a_relay", "offers an unusable relay"),),
    ),
    Mutant(
        "relay_answers_200_without_upgrade",
        "wire",
        "iroh_relay",
        relay.behind_proxy_without_upgrade,
        "a proxy in front of the relay answers the upgrade itself",
        (
            Kill("relay.relay_forwards_each_frame_once", "answered 200 instead of 101"),
            Kill("realtime.two_devices_exchange_messages", "realtime does not work over"),
        ),
    ),
    Mutant(
        "relay_drops_frames_to_second_client",
        "strategy",
        "iroh_relay",
        relay.dropping_for_second_client,
        "one of two clients receives nothing",
        (Kill("relay.relay_forwards_each_frame_once", "the last never arrived"),),
    ),
    Mutant(
        "relay_delivers_twice",
        "strategy",
        "iroh_relay",
        relay.delivering_twice,
        "each frame is forwarded two times",
        (
            Kill("relay.relay_forwards_each_frame_once", "delivered twice"),
            Kill("relay_v1.relay_v1_forwards_each_datagram_once", "delivered twice"),
        ),
    ),
    Mutant(
        "relay_accepts_bad_signature",
        "strategy",
        "iroh_relay",
        relay.accepting_every_signature,
        "anybody can log in as any node ID",
        (
            Kill("relay.relay_refuses_bad_signatures", "accepted a log-in with a bad signature"),
            Kill("relay_v1.relay_v1_refuses_bad_signatures", "accepted a log-in with a bad signature"),
        ),
    ),
    Mutant(
        "relay_wrong_source_key",
        "strategy",
        "iroh_relay",
        relay.naming_a_wrong_source,
        "frames say that they come from somebody else",
        (
            Kill("relay.relay_forwards_each_frame_once", "another source key than the sender's"),
            Kill("relay_v1.relay_v1_forwards_each_datagram_once", "another source key than the sender's"),
        ),
    ),
    Mutant(
        "relay_drops_large_frames",
        "strategy",
        "iroh_relay",
        relay.dropping_large_frames,
        "frames over 1 kB are not forwarded",
        (
            Kill("relay.relay_forwards_each_frame_once", "frames were lost or changed; the first had 1200"),
            Kill("relay_v1.relay_v1_forwards_each_datagram_once", "frames were lost or changed"),
        ),
    ),
    Mutant(
        "relay_forgets_clients",
        "strategy",
        "iroh_relay",
        relay.forgetting_idle_clients,
        "a client that is silent for seconds gets nothing any more",
        (Kill("relay.relay_connection_survives_idle", "the relay forgot a client that was only idle"),),
    ),
    Mutant(
        "relay_ping_missing",
        "strategy",
        "iroh_relay",
        relay.without_ping,
        "/ping is not there, which nodes since 0.91 measure their relay with",
        (
            Kill("relay.relay_answers_http", "GET /ping at the advertised relay"),
            Kill("relay_v1.relay_v1_carries_real_nodes", "for a node to be online at the relay"),
        ),
    ),
    Mutant(
        "relay_v1_never_promotes",
        "strategy",
        "iroh_relay",
        relay.never_promoting,
        "when the newest connection of a key leaves, the others stay mute",
        (Kill("relay_v1.relay_v1_same_key_rules", "was not told that it is active again"),),
    ),
    Mutant(
        "relay_https_bad_certificate",
        "wire",
        "mail",
        mail.with_relay_behind_bad_certificate,
        "METADATA names an https relay whose certificate is somebody else's",
        (Kill("relay.relay_answers_http", "certificate verify failed"),),
    ),
    Mutant(
        "relay_never_frees_places",
        "strategy",
        "iroh_relay",
        relay.never_freeing_places,
        "a client that leaves keeps its place, so that the third log-in is refused",
        (
            Kill("realtime.a_device_rejoins", "bob does not get back into the channel after he was offline"),
            Kill("realtime.two_devices_of_one_account", "each device of the swarm to hear each other"),
        ),
    ),
    Mutant(
        "relay_refuses_second_login",
        "strategy",
        "iroh_relay",
        relay.refusing_second_login,
        "a node ID can log in once and never again",
        (Kill("realtime.devices_survive_a_relay_restart", "did not log in again"),),
    ),
    Mutant(
        "certificate_of_another_name",
        "settings",
        "mail",
        mail.with_certificate_of_another_name,
        "the certificate is for another host name",
        (Kill("tls.certificates_are_trusted", "is not trusted"),),
    ),
    Mutant(
        "getmetadata_answered_before_login",
        "strategy",
        "mail",
        mail.answering_metadata_to_strangers,
        "METADATA is told to everybody who connects",
        (Kill("discovery.metadata_needs_login", "GETMETADATA before login"),),
    ),
    Mutant(
        "idle_never_wakes",
        "strategy",
        "mail",
        mail.never_waking_idle,
        "a client in IDLE does not hear of new mail",
        (Kill("mail.idle_reports_new_mail", "EXISTS during IDLE"),),
    ),
    Mutant(
        "mail_lost_after_250",
        "strategy",
        "mail",
        mail.answering_before_storing,
        "a mail is answered with 250 before it is on the disk",
        (Kill("durability.accepted_mail_survives_a_kill", "answered with 250 are lost"),),
    ),
    Mutant(
        "mail_over_quota_lost",
        "strategy",
        "mail",
        mail.losing_mail_over_quota,
        "a mailbox takes five messages, the others are accepted and lost",
        (Kill("calls.calls_ring_and_end", "the call to end at"),),
    ),
    Mutant(
        "unencrypted_mail_accepted",
        "strategy",
        "mail",
        mail.accepting_readable_mail,
        "mail that everybody can read is delivered",
        (Kill("mail.unencrypted_mail_is_refused", "unencrypted mail"),),
    ),
    Mutant(
        "any_password_accepted",
        "strategy",
        "mail",
        mail.accepting_any_password,
        "the password of an account is not checked after its first log-in",
        (Kill("mail.mailboxes_are_private", "accepted another password"),),
    ),
    Mutant(
        "relay_restart_ends_mail",
        "strategy",
        "supervisor",
        supervisor.restarting_everything_together,
        "restarting the relay restarts mail with it",
        (
            Kill(
                "services.relay_restarts_without_touching_mail",
                "connections to mail did not live on while the relay was restarted",
            ),
        ),
    ),
    Mutant(
        "metadata_capability_missing",
        "strategy",
        "mail",
        mail.hiding_metadata,
        "METADATA is served but not advertised, so clients do not ask",
        (Kill("discovery.metadata_offers_a_relay", "does not advertise the IMAP capability METADATA"),),
    ),
    Mutant(
        "uidvalidity_changes_at_restart",
        "strategy",
        "mail",
        mail.changing_uid_validity,
        "each restart makes clients forget what they have fetched",
        (Kill("mail.uids_never_go_back", "UIDVALIDITY changed"),),
    ),
    Mutant(
        "mailbox_of_another_readable",
        "strategy",
        "mail",
        mail.opening_mailboxes_of_others,
        "the inbox of every user opens under a name of its own",
        (Kill("mail.mailboxes_are_private", "another user found private"),),
    ),
    Mutant(
        "idle_reports_late",
        "strategy",
        "mail",
        mail.waking_idle_late,
        "a client in IDLE hears of new mail half a minute later",
        (Kill("mail.idle_reports_new_mail", "EXISTS during IDLE"),),
    ),
    Mutant(
        "turn_key_missing",
        "settings",
        "mail",
        mail.without_turn_line,
        "METADATA has no TURN server, so clients use public ones",
        (Kill("turn.turn_is_offered", "METADATA has no value for /shared/vendor/deltachat/turn"),),
    ),
    Mutant(
        "turn_foreign",
        "settings",
        "mail",
        mail.with_foreign_turn_server,
        "METADATA names the TURN server of somebody else",
        (
            Kill("turn.turn_is_offered", "offers the TURN server of somebody else"),
            Kill("calls.core_lists_the_offered_servers", "offers the TURN server of somebody else"),
        ),
    ),
    Mutant(
        "mail_on_ipv4_only",
        "settings",
        "mail",
        mail.listening_on_ipv4_only,
        "the server's name has an IPv6 address, where nobody answers",
        (Kill("ipv6.devices_without_ipv4_are_served", "nobody answers over IPv6 at"),),
    ),
    Mutant(
        "turn_on_ipv4_only",
        "settings",
        "turn",
        turn.listening_on_ipv4_only,
        "nobody answers STUN at the relay's IPv6 address",
        (Kill("ipv6.devices_without_ipv4_are_served", "no STUN over IPv6 at"),),
    ),
    Mutant(
        "turn_at_localhost",
        "settings",
        "mail",
        mail.with_turn_at_localhost,
        "METADATA names a host for TURN that is another one for each client",
        (
            Kill("names.turn_host_leads_to_the_target", "names localhost as the TURN server, and that is at"),
            Kill("names.core_finds_turn_by_its_name", "names localhost as the TURN server, and that is at"),
        ),
    ),
    Mutant(
        "turn_milliseconds",
        "settings",
        "mail",
        mail.with_turn_expiry_in_milliseconds,
        "the expiry of the TURN credentials is in milliseconds",
        (Kill("turn.turn_is_offered", "must be an expiry in unix seconds"),),
    ),
    Mutant(
        "turn_advertised_port_closed",
        "settings",
        "mail",
        mail.with_closed_turn_port,
        "METADATA names a TURN port where nothing listens",
        (Kill("turn.turn_allocates_with_offered_credentials", "nothing listens on turn:"),),
    ),
    Mutant(
        "turn_other_secret",
        "settings",
        "mail",
        mail.with_another_turn_secret,
        "mail and TURN do not share a secret",
        (Kill("turn.turn_allocates_with_offered_credentials", "refuses Allocate with 401"),),
    ),
    Mutant(
        "turn_wrong_relay_ip",
        "settings",
        "turn",
        turn.telling_a_wrong_relay_ip,
        "clients are told relayed addresses that are not the server's",
        (
            Kill(
                "turn.turn_allocates_with_offered_credentials",
                "tells clients the relayed address 203.0.113.7:",
            ),
        ),
    ),
    Mutant(
        "turn_drops_every_20th",
        "strategy",
        "turn",
        turn.dropping_every_20th,
        "one of twenty datagrams is lost",
        (Kill("turn.turn_allocates_with_offered_credentials", "of 48 datagrams were lost or changed"),),
    ),
    Mutant(
        "turn_one_direction_dead",
        "strategy",
        "turn",
        turn.with_one_direction_dead,
        "one of two clients is heard by nobody",
        (Kill("turn.turn_allocates_with_offered_credentials", "none of 48 datagrams arrived"),),
    ),
    Mutant(
        "turn_realm_not_checked",
        "strategy",
        "turn",
        turn.accepting_any_realm,
        "credentials for any realm are accepted",
        (Kill("turn.turn_refuses_wrong_credentials", "accepts credentials with another realm"),),
    ),
    Mutant(
        "turn_expired_accepted",
        "strategy",
        "turn",
        turn.accepting_expired_credentials,
        "credentials are good for ever",
        (Kill("turn.turn_credentials_expire", "grants a new allocation with credentials that have expired"),),
    ),
    Mutant(
        "turn_refresh_refused_after_expiry",
        "settings",
        "turn",
        turn.asking_for_the_expiry_each_time,
        "allocations cannot be refreshed any more when their credentials have expired",
        (
            Kill("turn.turn_credentials_expire", "an allocation must outlive the credentials"),
            Kill("calls_lifetimes.relayed_call_outlives_credentials", "call ended by itself"),
        ),
    ),
    Mutant(
        "turn_channels_expire_early",
        "strategy",
        "turn",
        turn.ending_channels_early,
        "channels live for three eighths of their lifetime",
        (Kill("calls_lifetimes.relayed_call_outlives_lifetimes", "heard nothing for"),),
    ),
    Mutant(
        "turn_ledger_counts_control",
        "strategy",
        "turn",
        turn.counting_control_as_traffic,
        "the ledger says that control messages were carried media",
        (Kill("calls.direct_call_leaves_the_relay_alone", "the call is direct, but the server carried"),),
    ),
    Mutant(
        "turn_errors_unsigned",
        "settings",
        "turn",
        turn.leaving_errors_unsigned,
        "errors after authentication are not signed, so aioice does not see them",
        (Kill("turn.turn_refuses_wrong_credentials", "an error after authentication is not signed"),),
    ),
    Mutant(
        "turn_permissions_not_enforced",
        "strategy",
        "turn",
        turn.forwarding_without_permissions,
        "data passes without a permission",
        (Kill("turn.turn_enforces_permissions", "without a permission for"),),
    ),
    Mutant(
        "turn_loopback_open",
        "strategy",
        "turn",
        turn.open_to_loopback,
        "the exception for relays of the server itself covers all of loopback",
        (Kill("turn.turn_enforces_permissions", "a datagram was relayed to a program on 127."),),
    ),
    Mutant(
        "turns_without_tls",
        "settings",
        "mail",
        mail.with_turns_at_a_port_without_tls,
        "METADATA turns names a port where TURN answers without TLS",
        (Kill("discovery.turns_is_offered", "does not speak TLS that we can verify"),),
    ),
    Mutant(
        "turn_forwards_one_way",
        "strategy",
        "turn",
        turn.forwarding_media_one_way,
        "calls connect through TURN, but one side hears nothing",
        (Kill("calls.relayed_call_is_heard_and_seen", "audio to arrive at the agent"),),
    ),
    Mutant(
        "turn_loses_every_fifth",
        "strategy",
        "turn",
        turn.losing_every_fifth,
        "TURN loses every fifth packet of media",
        (Kill("calls.relayed_call_is_heard_and_seen", "the account does not balance"),),
    ),
    Mutant(
        "turn_loses_every_fifth_of_streams",
        "strategy",
        "turn",
        turn.losing_every_fifth_of_streams,
        "over TCP and TLS, TURN loses every fifth packet of media",
        (Kill("calls.relayed_call_over_tcp_and_tls", "the account does not balance"),),
    ),
    Mutant(
        "turn_few_places",
        "settings",
        "turn",
        turn.with_few_places,
        "people behind one address cannot make many calls at once",
        (Kill("calls_many.calls_at_once", "486"),),
    ),
    Mutant(
        "turn_ends_calls_when_paused",
        "strategy",
        "turn",
        turn.ending_calls_when_paused,
        "media that has stopped for a moment does not go on",
        (Kill("calls_interrupted.call_survives_a_pause_of_turn", "did not hear the other side again"),),
    ),
    Mutant(
        "turn_forgets_secret_at_restart",
        "settings",
        "turn",
        turn.forgetting_its_secret,
        "when TURN starts again, it refuses the credentials that METADATA gave before",
        (
            Kill(
                "calls_interrupted.calling_survives_a_restart_of_turn",
                "after its restart TURN is of no use to those who were there",
            ),
        ),
    ),
)

MUTANTS = {mutant.name: mutant for mutant in _ALL}
