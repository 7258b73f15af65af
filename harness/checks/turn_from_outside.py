"""The ports of relayed transport addresses are open from outside, which two clients of one server never show."""

from __future__ import annotations

from ..network import profiles
from ..stage.check import check
from ..stage.outcome import Outcome
from ..stage.stage import Stage
from ..steps.plain_peer import exchange_with_plain_peer
from ..urls import TurnUrl

__all__ = ["relayed_address_answers_a_plain_peer"]


@check("TURN-6", needs=("turn",), after=("turn.turn_allocates_with_offered_credentials",))
def relayed_address_answers_a_plain_peer(stage: Stage, outcome: Outcome) -> None:
    """A peer without an allocation reaches a client at its relayed transport address, and is answered from there."""
    if stage.session.kind is None:
        offer = stage.own_turn()
        url = TurnUrl("udp", offer.host, offer.port)
        exchange_with_plain_peer(outcome, url, offer.credentials, stage.host, stage.host)
        return
    with stage.lab() as lab:
        offer = lab.own_turn()
        client, peer = (lab.network.device(name, profiles.PUBLIC) for name in ("client", "peer"))
        url = TurnUrl("udp", offer.host, offer.port)
        exchange_with_plain_peer(outcome, url, offer.credentials, client, peer)
