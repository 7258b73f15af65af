import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from reference_server.iroh_relay.http.websocket import WebSocket
from tests.reference_server.iroh_relay.support import frame

MAX = 1_048_576
LARGEST = 1300


def wire(opcode, data, *, fin=True):
    return Frame(opcode, data, fin=fin).serialize(mask=True)


def test_one_message_is_one_frame():
    frames, reply = WebSocket(MAX).receive(
        wire(Opcode.BINARY, b"\x0c12345678") + wire(Opcode.BINARY, b"\x06")
    )
    assert bytes(frames) == frame(12, b"12345678") + frame(6)
    assert reply == b""


def test_message_in_fragments_with_a_ping_between_them():
    stream = (
        wire(Opcode.BINARY, b"\x0c1234", fin=False) + wire(Opcode.PING, b"hi") + wire(Opcode.CONT, b"5678")
    )
    websocket = WebSocket(MAX)
    frames, replies = b"", b""
    for place in range(len(stream)):
        more, reply = websocket.receive(stream[place : place + 1])
        frames, replies = frames + more, replies + reply
    assert frames == frame(12, b"12345678")
    assert replies == Frame(Opcode.PONG, b"hi").serialize(mask=False)


def test_text_is_skipped_and_close_ends_it():
    websocket = WebSocket(MAX)
    frames, _ = websocket.receive(wire(Opcode.TEXT, b"hello") + wire(Opcode.BINARY, b"\x06"))
    assert bytes(frames) == frame(6)
    assert websocket.ended is None
    websocket.receive(wire(Opcode.CLOSE, b"\x03\xe8"))
    assert websocket.ended == "closed by the client"


def test_empty_message_is_an_error_and_what_stood_before_it_counts():
    websocket = WebSocket(MAX)
    stream = wire(Opcode.BINARY, b"\x06") + wire(Opcode.BINARY, b"") + wire(Opcode.BINARY, b"\x06")
    frames, _ = websocket.receive(stream)
    assert bytes(frames) == frame(6)
    assert websocket.ended == "empty WebSocket message"
    assert not any(websocket.receive(wire(Opcode.BINARY, b"\x06")))


def test_message_over_the_limit_is_refused_by_its_header():
    websocket = WebSocket(MAX)
    header = wire(Opcode.BINARY, bytes(1_048_577))[:14]
    frames, reply = websocket.receive(header)
    assert frames == b""
    assert reply[2:4] == (1009).to_bytes(2, "big")  # RFC 6455, section 7.4.1: too big
    assert websocket.ended and websocket.ended.startswith("bad WebSocket message: ")


def test_fragments_over_the_limit_are_refused():
    websocket = WebSocket(MAX)
    websocket.receive(wire(Opcode.BINARY, bytes(1_000_000), fin=False))
    websocket.receive(wire(Opcode.CONT, bytes(100_000)))
    assert websocket.ended and websocket.ended.startswith("bad WebSocket message: ")


@pytest.mark.parametrize("size", [1, 125, 126, 65_535, 65_536])
def test_every_size_of_message_comes_in_and_goes_out(size):
    body = bytes(range(256)) * 256
    relay_frame = frame(4, body[: size - 1])
    frames, _ = WebSocket(MAX).receive(wire(Opcode.BINARY, b"\x04" + body[: size - 1]))
    assert bytes(frames) == relay_frame
    message = Frame(Opcode.BINARY, b"\x04" + body[: size - 1]).serialize(mask=False)
    assert WebSocket(MAX).send(relay_frame) == message


def test_frames_go_out_as_one_message_each():
    out = WebSocket(MAX).send(frame(13, b"12345678") + frame(6))
    assert out == b"\x82\x09\x0d12345678" + b"\x82\x01\x06"


@st.composite
def client_frames(draw):
    """Mostly binary messages, as a client sends them; also fragments, control frames and what is forbidden."""
    opcode = draw(
        st.sampled_from([Opcode.BINARY] * 6 + [Opcode.CONT, Opcode.TEXT, Opcode.PING, Opcode.CLOSE])
    )
    size = draw(st.sampled_from([0, 1, 2, 3, 60, 125, 126, 127, 1233, LARGEST, LARGEST + 1]))
    data = draw(st.binary(min_size=2, max_size=2)) * (size // 2) + bytes(size % 2)
    if opcode is Opcode.CLOSE:
        data = b"\x03\xe8"
    whole = bytearray(wire(Opcode.BINARY, data))
    whole[0] = draw(st.sampled_from([0x80] * 6 + [0, 0xC0])) | opcode  # not the end; an extension's bit
    whole[1] ^= draw(st.sampled_from([0] * 10 + [0x80]))  # not masked
    return bytes(whole)


@given(st.lists(client_frames(), min_size=1, max_size=8), st.data())
@settings(max_examples=150, deadline=None)
def test_messages_mean_the_same_however_they_arrive(frames, data):
    """Cut before its last byte no frame is whole when it arrives: all of it goes to the parser of websockets."""
    stream = b"".join(frames)
    never_whole = WebSocket(LARGEST)
    taken = [never_whole.receive(part) for each in frames for part in (each[:-1], each[-1:])]
    in_pieces = WebSocket(LARGEST)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=4)))
    pieces = [
        in_pieces.receive(stream[start:stop])
        for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True)
    ]
    for each in (0, 1):
        assert b"".join(part[each] for part in pieces) == b"".join(part[each] for part in taken)
    assert in_pieces.ended == never_whole.ended


def test_whole_message_inside_a_fragmented_one_is_an_error():
    websocket = WebSocket(MAX)
    websocket.receive(wire(Opcode.BINARY, b"\x0c1234", fin=False))
    frames, _ = websocket.receive(wire(Opcode.BINARY, bytes(200)) * 2)
    assert frames == b""
    assert websocket.ended and websocket.ended.startswith("bad WebSocket message: ")


@given(st.lists(st.binary(max_size=100), max_size=10))
@settings(max_examples=150, deadline=None)
def test_hostile_bytes_raise_nothing(pieces):
    websocket = WebSocket(MAX)
    for piece in pieces:
        websocket.receive(piece)
