"""The TURN server without sockets: bytes and `now` in, actions out (RFC 8656).

`now` is seconds of one monotonic clock; expiry of credentials and nonces is unix time and has a clock of its own.
The order of the checks is that of RFC 8489, section 9.2.4, and RFC 8656, section 7.2.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from .actions import Action, AllocationEnded, AllocationMade, ChannelEnded, ChannelMade, ToClient, ToPeer
from .allocations import (
    Allocation,
    Allocations,
    Channel,
    FiveTuple,
    Permission,
    PermissionPolicy,
    Permissions,
    Relay,
    Reservation,
    source_of,
)
from .authentication import Authentication, Signed, refuse
from .credentials import Credentials, Nonces
from .ledger import TurnLedger
from .peers import PeerPolicy
from .relay_ports import RelayPorts, RelaySockets
from .requests import AllocateRequest, Refusal, channel_request, lifetime_of, peer_addresses, refresh_family
from .settings import TurnSettings
from .stun import (
    Address,
    AddressFamily,
    Attribute,
    Class,
    Error,
    Message,
    Method,
    attribute,
    build,
    channel_header,
    error_value,
    parse,
    xor_address,
    xor_decode,
)

__all__ = ["Forwarding", "Strategies", "Turn"]


class Forwarding(Protocol):
    """Asked about every payload; False loses it."""

    def __call__(self, allocation: Allocation, payload: bytes, /, *, to_peer: bool) -> bool: ...


@dataclass(frozen=True)
class Strategies:
    """Behaviour that can reasonably differ between right servers, and that tests put something else in place of.

    `forwarding` None forwards everything, and lets the shell forward without asking.
    """

    credentials: Credentials
    peers: PeerPolicy
    permissions: PermissionPolicy = field(default_factory=Permissions)
    forwarding: Forwarding | None = None


class Turn:
    """One TURN server. Calls never raise for what came over the network."""

    def __init__(
        self,
        settings: TurnSettings,
        strategies: Strategies,
        sockets: RelaySockets,
        ledger: TurnLedger,
        nonces: Nonces | None = None,
    ) -> None:
        self.settings = settings
        self.strategies = strategies
        self.ledger = ledger
        self.allocations = Allocations(settings.limits)
        self._authentication = Authentication(
            settings, strategies.credentials, ledger, nonces or Nonces(settings.nonce_lifetime)
        )
        self._ports = RelayPorts(
            sockets,
            settings.relay_ports,
            rest=settings.port_rest,
            never=[listen.address.port for listen in settings.listeners],
        )

    # What comes in

    def receive(self, five_tuple: FiveTuple, data: bytes, now: float) -> list[Action]:
        """One datagram, or one frame of a stream, from a client."""
        first = data[0] if data else 0xFF
        allocation = self.allocations.by_five_tuple.get(five_tuple)
        if 0x40 <= first <= 0x7F:
            return self._channel_data(allocation, data, now)
        message = parse(data) if first <= 3 else None
        if message is None:
            self._drop(allocation, "malformed", len(data))
            return []
        if message.kind is Class.INDICATION and message.method == Method.SEND:
            return self._send(allocation, message, now)
        if message.kind is not Class.REQUEST:
            self._drop(allocation, "unexpected", len(data))
            return []
        actions = self._request(five_tuple, message, now)
        allocation = self.allocations.by_five_tuple.get(five_tuple) or allocation
        if allocation is not None:
            _count(allocation.record.control_in, data)
            for action in actions:
                if isinstance(action, ToClient):
                    _count(allocation.record.control_out, action.data)
        return actions

    def arrive(self, relay: Address, peer: Address, payload: bytes, now: float) -> list[Action]:
        """One datagram at a relay's socket."""
        known = self.allocations.by_relay.get(relay)
        if known is None:
            self.ledger.drop("reserved_port", len(payload))
            return []
        if not self.strategies.peers.allows(peer):
            # Whoever has a permission for the server's own address must not hear what else runs there.
            known.allocation.record.drop("denied_peer", len(payload))
            return []
        return self._to_client(known.allocation, peer, payload, now)

    def disconnected(self, five_tuple: FiveTuple, now: float) -> list[Action]:
        """The client's TCP connection is gone; so is its allocation."""
        allocation = self.allocations.by_five_tuple.get(five_tuple)
        return [] if allocation is None else self._end_allocation(allocation, "disconnected", now)

    def next_deadline(self) -> float | None:
        """Time at which `expire` should be called at the latest."""
        return self.allocations.next_deadline()

    def expire(self, now: float) -> list[Action]:
        """End what has outlived its time."""
        actions: list[Action] = []
        for timed in self.allocations.expired(now):
            match timed:
                case Relay():
                    actions += self._end_relay(timed, "expired", now)
                case Permission():
                    timed.ended = True
                    timed.allocation.permissions.pop(timed.host, None)
                case Channel():
                    actions += self._end_channel(timed)
                case Reservation():
                    self.allocations.unreserve(timed)
                    self._ports.release(timed.address.family, timed.address.port, now)
        return actions

    # Requests

    def _request(self, five_tuple: FiveTuple, message: Message, now: float) -> list[Action]:
        if message.method == Method.BINDING:
            reply = self._authentication.to_unauthenticated(self._binding(five_tuple, message), now)
            return [] if reply is None else [reply]
        handler = _HANDLERS.get(message.method)
        if handler is None:
            self.ledger.drop("unknown_method", len(message.raw))
            return []
        signed = self._authentication.check(
            five_tuple, message, now, self.allocations.by_five_tuple.get(five_tuple)
        )
        if not isinstance(signed, Signed):
            return [] if signed is None else [signed]
        try:
            if unknown := message.unknown():
                raise Refusal(Error.UNKNOWN_ATTRIBUTE, unknown)
            return handler(self, signed)
        except Refusal as refusal:
            key = signed.key if self.settings.sign_errors else None
            return [refuse(five_tuple, message, refusal.error, refusal.attributes(), key)]

    @staticmethod
    def _binding(five_tuple: FiveTuple, message: Message) -> ToClient:
        if unknown := message.unknown():
            refusal = Refusal(Error.UNKNOWN_ATTRIBUTE, unknown)
            return refuse(five_tuple, message, refusal.error, refusal.attributes())
        mapped = xor_address(Attribute.XOR_MAPPED_ADDRESS, five_tuple.client, message.transaction)
        return ToClient(five_tuple, build(Method.BINDING, Class.SUCCESS, message.transaction, [mapped]))

    def _own(self, signed: Signed) -> Allocation:
        allocation = self.allocations.by_five_tuple.get(signed.five_tuple)
        if allocation is None:
            raise Refusal(Error.ALLOCATION_MISMATCH)
        if allocation.username != signed.username:
            raise Refusal(Error.WRONG_CREDENTIALS)
        return allocation

    def _allocate(self, signed: Signed) -> list[Action]:
        existing = self.allocations.by_five_tuple.get(signed.five_tuple)
        if existing is not None:
            if existing.transaction == signed.message.transaction and existing.username == signed.username:
                return [ToClient(signed.five_tuple, existing.reply)]
            raise Refusal(Error.ALLOCATION_MISMATCH)
        wanted = AllocateRequest.read(signed.message, self.settings)
        if not self.allocations.has_room(signed.five_tuple.client, signed.username):
            raise Refusal(Error.ALLOCATION_QUOTA_REACHED)
        addresses, token = self._relay_addresses(wanted, signed)
        allocation = Allocation(
            signed.five_tuple,
            signed.username,
            signed.key,
            signed.message.transaction,
            self.ledger.allocation(
                transport=signed.five_tuple.transport,
                client=signed.five_tuple.client,
                server=signed.five_tuple.server,
                username=signed.username.decode(errors="replace"),
                relayed=[str(address) for address in addresses],
                peers_remembered=self.settings.limits.peers_remembered,
            ),
        )
        expires = signed.now + wanted.lifetime
        allocation.relays = {each.family: Relay(allocation, each, expires) for each in addresses}
        self.allocations.add(allocation)
        reply = self._allocated(signed, wanted, addresses, token)
        allocation.reply = reply.data
        return [AllocationMade(allocation), reply]

    def _relay_addresses(self, wanted: AllocateRequest, signed: Signed) -> tuple[list[Address], bytes | None]:
        """Opens the sockets. Returns the addresses, and the token of a port that was reserved with them."""
        now = signed.now
        if wanted.token is not None:
            held = self.allocations.claim(wanted.token, signed.username, now)
            if held is None:
                raise Refusal(Error.INSUFFICIENT_CAPACITY)
            return [held.address], None
        host = self.settings.relay_host(wanted.family)
        if wanted.reserve_next:
            port = self._ports.take_pair(wanted.family, now)
        else:
            port = self._ports.take(wanted.family, now, even=wanted.even)
        if host is None or port is None:
            raise Refusal(Error.INSUFFICIENT_CAPACITY)
        addresses = [Address(host, port)]
        if wanted.second_family:
            second_host = self.settings.relay_host(AddressFamily.IPV6)
            second = self._ports.take(AddressFamily.IPV6, now) if second_host is not None else None
            if second is not None and second_host is not None:
                addresses.append(Address(second_host, second))
        if not wanted.reserve_next:
            return addresses, None
        token = secrets.token_bytes(8)
        until = now + self.settings.reservation_lifetime
        self.allocations.reserve(
            Reservation(
                token, signed.username, source_of(signed.five_tuple.client), Address(host, port + 1), until
            )
        )
        return addresses, token

    def _allocated(
        self, signed: Signed, wanted: AllocateRequest, addresses: list[Address], token: bytes | None
    ) -> ToClient:
        transaction = signed.message.transaction
        attributes = [xor_address(Attribute.XOR_RELAYED_ADDRESS, each, transaction) for each in addresses]
        attributes.append(attribute(Attribute.LIFETIME, int(wanted.lifetime).to_bytes(4, "big")))
        attributes.append(xor_address(Attribute.XOR_MAPPED_ADDRESS, signed.five_tuple.client, transaction))
        if token is not None:
            attributes.append(attribute(Attribute.RESERVATION_TOKEN, token))
        if wanted.second_family and len(addresses) == 1:
            known = self.settings.relay_host(AddressFamily.IPV6) is not None
            error = Error.INSUFFICIENT_CAPACITY if known else Error.ADDRESS_FAMILY_NOT_SUPPORTED
            value = b"\2\0" + error_value(error)[2:]
            attributes.append(attribute(Attribute.ADDRESS_ERROR_CODE, value))
        return signed.succeed(*attributes)

    def _refresh(self, signed: Signed) -> list[Action]:
        allocation = self._own(signed)
        family = refresh_family(signed.message)
        if family is not None and family not in allocation.relays:
            raise Refusal(Error.PEER_ADDRESS_FAMILY_MISMATCH)
        lifetime = lifetime_of(signed.message, self.settings, allow_zero=True)
        relays = [relay for each, relay in allocation.relays.items() if family in (None, each)]
        actions: list[Action] = []
        for relay in relays:
            if lifetime == 0:
                actions += self._end_relay(relay, "deleted", signed.now)
            else:
                sooner = signed.now + lifetime < relay.expires
                relay.expires = signed.now + lifetime
                if sooner:
                    self.allocations.watch(relay)
        value = int(lifetime).to_bytes(4, "big")
        return [signed.succeed(attribute(Attribute.LIFETIME, value)), *actions]

    def _create_permission(self, signed: Signed) -> list[Action]:
        allocation = self._own(signed)
        peers = peer_addresses(signed.message)
        for peer in peers:
            self._check_peer(allocation, peer, any_port=True)
        new = {peer.host for peer in peers} - allocation.permissions.keys()
        if len(allocation.permissions) + len(new) > self.settings.limits.permissions:
            raise Refusal(Error.INSUFFICIENT_CAPACITY)
        for peer in peers:
            self._permit(allocation, peer.host, signed.now)
        return [signed.succeed()]

    def _channel_bind(self, signed: Signed) -> list[Action]:
        allocation = self._own(signed)
        number, peer = channel_request(signed.message, self.settings)
        known = allocation.channels.get(number)
        bound = allocation.channel_of.get(peer)
        if known is not bound:
            raise Refusal(Error.BAD_REQUEST)
        self._check_peer(allocation, peer, any_port=False)
        limits = self.settings.limits
        if (known is None and len(allocation.channels) >= limits.channels) or (
            peer.host not in allocation.permissions and len(allocation.permissions) >= limits.permissions
        ):
            raise Refusal(Error.INSUFFICIENT_CAPACITY)
        permission = self._permit(allocation, peer.host, signed.now)
        expires = signed.now + self.settings.channel_lifetime
        if known is not None:
            known.permission, known.expires = permission, expires
            return [signed.succeed()]
        flow = allocation.record.flow(peer)
        flow.channel = number
        channel = Channel(
            allocation,
            number,
            peer,
            allocation.relays[peer.family],
            permission,
            flow,
            self.strategies.peers.allows(peer),
            expires,
        )
        allocation.channels[number] = allocation.channel_of[peer] = channel
        self.allocations.watch(channel)
        return [ChannelMade(channel), signed.succeed()]

    def _check_peer(self, allocation: Allocation, peer: Address, *, any_port: bool) -> None:
        """Relays that this server allocated are peers whatever their address is; nothing else of its own is."""
        if peer.family not in allocation.relays:
            raise Refusal(Error.PEER_ADDRESS_FAMILY_MISMATCH)
        if any_port:
            allowed = peer.host == self.settings.relay_host(peer.family)
            peer = Address(peer.host, 0)
        else:
            allowed = peer in self.allocations.by_relay
        if not allowed and not self.strategies.peers.allows(peer):
            raise Refusal(Error.FORBIDDEN)

    def _permit(self, allocation: Allocation, host: str, now: float) -> Permission:
        expires = now + self.settings.permission_lifetime
        permission = allocation.permissions.get(host)
        if permission is None:
            permission = allocation.permissions[host] = Permission(allocation, host, expires)
            self.allocations.watch(permission)
        permission.expires = expires
        return permission

    # Data

    def _send(self, allocation: Allocation | None, message: Message, now: float) -> list[Action]:
        value, payload = message.get(Attribute.XOR_PEER_ADDRESS), message.get(Attribute.DATA)
        peer = None if value is None else xor_decode(value, message.transaction)
        if allocation is None:
            self.ledger.drop("no_allocation", len(message.raw))
        elif peer is None or payload is None or message.unknown():
            allocation.record.drop("malformed", len(message.raw))
        elif peer.family not in allocation.relays or not self.strategies.permissions.permits(
            allocation, peer.host, now
        ):
            allocation.record.drop("no_permission", len(payload))
        else:
            dont_fragment = message.get(Attribute.DONT_FRAGMENT) is not None
            return self._to_peer(allocation, peer, payload, now, dont_fragment=dont_fragment)
        return []

    def _channel_data(self, allocation: Allocation | None, data: bytes, now: float) -> list[Action]:
        number, length = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")
        if allocation is None:
            self.ledger.drop("no_allocation", len(data))
        elif len(data) < 4 + length:
            allocation.record.drop("malformed", len(data))
        else:
            channel = allocation.channels.get(number)
            if channel is not None and self.strategies.permissions.open_until(channel) > now:
                return self._to_peer(allocation, channel.peer, data[4 : 4 + length], now)
            allocation.record.drop("no_channel", length)
        return []

    def _to_peer(
        self,
        allocation: Allocation,
        peer: Address,
        payload: bytes,
        now: float,
        *,
        dont_fragment: bool = False,
    ) -> list[Action]:
        """From a client that has the right to; a peer that is a relay of ours is reached without the network."""
        relay = allocation.relays[peer.family]
        forwarding = self.strategies.forwarding
        if forwarding is not None and not forwarding(allocation, payload, to_peer=True):
            allocation.record.drop("forwarding", len(payload))
            return []
        other = self.allocations.by_relay.get(peer)
        if other is None and not self.strategies.peers.allows(peer):
            allocation.record.drop("denied_peer", len(payload))
            return []
        allocation.record.flow(peer).to_peer.count(payload)
        if other is None:
            return [ToPeer(relay.address, peer, payload, dont_fragment)]
        return self._to_client(other.allocation, relay.address, payload, now)

    def _to_client(self, allocation: Allocation, peer: Address, payload: bytes, now: float) -> list[Action]:
        """To the client whose relay `peer` has sent to, if it wants to hear of that peer."""
        forwarding = self.strategies.forwarding
        if forwarding is not None and not forwarding(allocation, payload, to_peer=False):
            allocation.record.drop("forwarding", len(payload))
            return []
        permissions = self.strategies.permissions
        channel = allocation.channel_of.get(peer)
        if channel is not None and permissions.open_until(channel) > now:
            channel.flow.to_client.count(payload)
            return [ToClient(allocation.five_tuple, channel_header(channel.number, len(payload)) + payload)]
        if not permissions.permits(allocation, peer.host, now):
            allocation.record.drop("no_permission", len(payload))
            return []
        allocation.record.flow(peer).to_client.count(payload)
        transaction = secrets.token_bytes(12)
        attributes = (
            xor_address(Attribute.XOR_PEER_ADDRESS, peer, transaction),
            attribute(Attribute.DATA, payload),
        )
        return [
            ToClient(allocation.five_tuple, build(Method.DATA, Class.INDICATION, transaction, attributes))
        ]

    def _drop(self, allocation: Allocation | None, reason: str, size: int) -> None:
        if allocation is None:
            self.ledger.drop(reason, size)
        else:
            allocation.record.drop(reason, size)

    # Ends

    def _end_channel(self, channel: Channel) -> list[Action]:
        channel.ended = True
        allocation = channel.allocation
        del allocation.channels[channel.number], allocation.channel_of[channel.peer]
        return [ChannelEnded(channel)]

    def _end_relay(self, relay: Relay, reason: str, now: float) -> list[Action]:
        allocation = relay.allocation
        gone = [channel for channel in allocation.channels.values() if channel.relay is relay]
        actions = [action for channel in gone for action in self._end_channel(channel)]
        self.allocations.remove_relay(relay)
        self._ports.release(relay.family, relay.address.port, now)
        if not allocation.relays:
            allocation.record.closed = self.ledger.wall_clock()
            allocation.record.reason = reason
            actions.append(AllocationEnded(allocation))
        return actions

    def _end_allocation(self, allocation: Allocation, reason: str, now: float) -> list[Action]:
        relays = list(allocation.relays.values())
        return [action for relay in relays for action in self._end_relay(relay, reason, now)]


def _count(pair: list[int], message: bytes) -> None:
    pair[0] += 1
    pair[1] += len(message)


_HANDLERS: dict[int, Callable[[Turn, Signed], list[Action]]] = {
    Method.ALLOCATE: Turn._allocate,
    Method.REFRESH: Turn._refresh,
    Method.CREATE_PERMISSION: Turn._create_permission,
    Method.CHANNEL_BIND: Turn._channel_bind,
}
