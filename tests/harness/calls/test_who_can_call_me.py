"""Whose calls ring: a setting of core's, from 0 (everybody) over 1 (contacts) to 2 (nobody)."""

from __future__ import annotations

import pytest
from deltachat_rpc_client import Chat

from harness.clients.core.core import Account, CallMessage
from harness.clients.device import Device, devices_online
from harness.waiting import wait_until

from .conftest import Friends

OFFER = "v=0\r\n"
MISSED = "Missed call"


def rings_before_it_is_given_up(caller: Device, called: Device, chat: Chat) -> bool:
    """Call, end the call, and say whether it rang. In any case it is a missed one, of whose end an event tells."""
    account = called.account
    rang, ended, missed = (
        len(account.events("IncomingCall")),
        len(account.events("CallEnded")),
        read_by(account).count(MISSED),
    )
    CallMessage(caller.account, chat.place_outgoing_call(OFFER, False).id).end()
    wait_until(lambda: len(account.events("CallEnded")) > ended, "the called to know of the end", within=30)
    assert read_by(account).count(MISSED) == missed + 1
    return len(account.events("IncomingCall")) > rang


@pytest.mark.parametrize(("setting", "rings"), [("0", True), ("1", True), ("2", False)])
def test_a_friend_calls(friends: Friends, setting, rings):
    alice, bob = friends
    bob.account.client.set_config("who_can_call_me", setting)
    try:
        chat = alice.account.chat_with(bob.account)
        assert rings_before_it_is_given_up(alice, bob, chat) is rings
    finally:
        bob.account.client.set_config("who_can_call_me", "1")


@pytest.mark.parametrize(("setting", "rings"), [("0", True), ("1", False), ("2", False)])
def test_a_stranger_calls(mail, setting, rings):
    """Carol has bob's key from a card that somebody gave her; bob has never heard of her. Bots know no strangers."""
    with devices_online(("bob", "carol"), *mail, bot=False) as (bob, carol):
        bob.account.client.set_config("who_can_call_me", setting)
        card = bob.account.client.make_vcard([bob.account.client.self_contact])
        [contact] = carol.account.client.import_vcard(card)
        assert rings_before_it_is_given_up(carol, bob, contact.create_chat()) is rings


def read_by(account: Account) -> list[str]:
    """What the user reads in all chats."""
    chats = account.client.get_chatlist()
    return [str(message.get_snapshot().text) for chat in chats for message in chat.get_messages()]
