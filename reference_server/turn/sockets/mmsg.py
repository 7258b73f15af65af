"""Many datagrams with one system call: recvmmsg(2) and sendmmsg(2) over buffers that all sockets share.

A datagram is received behind room for a channel header, or with one; it is sent on from the same memory, with or
without that header. No payload is ever copied in this process.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from array import array

from .segments import KERNEL_CAN, MAX_BYTES, SOL_UDP, UDP_SEGMENT

__all__ = ["HEADER", "SLOTS", "STRIDE", "Batch", "Vector"]

SLOTS = 64
HEADER = 4
"""Bytes of a channel header."""
ROOM = 65535
STRIDE = 4 + ROOM + 1 + 1088
"""A multiple of a header's size, and not of a page: equal offsets in all slots would share few cache sets."""

CONTROL = 24
"""CMSG_SPACE of one number: length (8 bytes), level (4), type (4), the number, padding."""

_MSG_DONTWAIT = 0x40
_FULL = (errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM)


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    """struct mmsghdr of a 64-bit Linux; its msghdr is padded to whole words."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vector", ctypes.c_void_p),
        ("vector_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("end_of_msghdr", ctypes.c_int),
        ("length", ctypes.c_uint32),
    )


_libc = ctypes.PyDLL(None, use_errno=True)  # keeps the GIL: with MSG_DONTWAIT no call waits
_recvmmsg = _libc.recvmmsg
_recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
_sendmmsg = _libc.sendmmsg
_sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
_sendmsg = _libc.sendmsg
_sendmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
_sendmsg.restype = ctypes.c_ssize_t


class Vector:
    """One message head per slot, each pointing `offset` bytes into its slot, and with room for one control message.

    `sizes[2 * i + 1]` is how many bytes of slot i are sent.
    """

    def __init__(self, memory: int, offset: int, size: int) -> None:
        self._iovecs = (_Iovec * SLOTS)(
            *(_Iovec(memory + slot * STRIDE + offset, size) for slot in range(SLOTS))
        )
        self._messages = (_Message * SLOTS)()
        self._controls = bytearray(CONTROL * SLOTS)
        controls = ctypes.addressof(ctypes.c_char.from_buffer(self._controls))
        for slot in range(SLOTS):
            message = self._messages[slot]
            message.control = controls + slot * CONTROL
            message.vector = ctypes.addressof(self._iovecs) + slot * ctypes.sizeof(_Iovec)
            message.vector_length = 1
        self.address = ctypes.addressof(self._messages)
        self.iovecs = ctypes.addressof(self._iovecs)
        self.sizes = memoryview(self._iovecs).cast("B").cast("Q")
        raw, size = memoryview(self._messages).cast("B"), ctypes.sizeof(_Message)
        self.lengths = raw.cast("I")[_Message.length.offset // 4 :: size // 4]
        self._control_lengths = raw.cast("Q")[_Message.control_length.offset // 8 :: size // 8]
        self._numbers = memoryview(self._controls).cast("i")[16 // 4 :: CONTROL // 4]
        self._used = SLOTS

    def expect_joined(self) -> None:
        """Make room for the size that the kernel tells of datagrams that it has joined."""
        self._control_lengths[: self._used] = _CONTROLS[: self._used]

    def joined(self, count: int) -> list[int] | None:
        """Size of the datagrams in each of the first slots, 0 where there is only one; None if none is joined."""
        self._used = count
        if count == 1:
            return [self._numbers[0]] if self._control_lengths[0] else None
        lengths = self._control_lengths[:count].tolist()
        if not any(lengths):
            return None
        return [self._numbers[slot] if length else 0 for slot, length in enumerate(lengths)]


_CONTROLS = memoryview(array("Q", [CONTROL]) * SLOTS)


class _Segmented:
    """One message of several slots, which the kernel cuts into datagrams of one size (UDP_SEGMENT, udp(7))."""

    def __init__(self) -> None:
        self._control = bytearray(struct.pack("@QiiH6x", 16 + 2, SOL_UDP, UDP_SEGMENT, 0))
        self._message = _Message(vector_length=0, control_length=CONTROL)
        self._message.control = ctypes.addressof(ctypes.c_char.from_buffer(self._control))
        self._address = ctypes.addressof(self._message)
        self._size = memoryview(self._control)[16:18].cast("H")
        self._vector = memoryview(self._message).cast("B").cast("Q")[_Message.vector.offset // 8 :][:2]

    def send(self, descriptor: int, vector: Vector, start: int, stop: int, size: int) -> bool:
        """Send slots start to stop-1 of `size` bytes each to the peer of a connected socket; False if that failed."""
        self._vector[0] = vector.iovecs + start * ctypes.sizeof(_Iovec)
        self._vector[1] = stop - start
        self._size[0] = size
        return bool(_sendmsg(descriptor, self._address, _MSG_DONTWAIT) > 0)


class Batch:
    """64 slots of memory for datagrams on their way. A loop has one, and empties it before it fills it again."""

    def __init__(self) -> None:
        self.buffer = bytearray(SLOTS * STRIDE)
        self.view = memoryview(self.buffer)
        self.room = self.view[: HEADER + ROOM]
        """The first slot, for what is received alone."""
        self.room_for_payload = self.view[HEADER : HEADER + ROOM]
        memory = ctypes.addressof(ctypes.c_char.from_buffer(self.buffer))
        self.into_start = Vector(memory, 0, HEADER + ROOM)
        """To receive: a datagram begins at the start of its slot."""
        self.into_payload = Vector(memory, HEADER, ROOM)
        """To receive: a datagram begins where the payload of a channel's data would."""
        self.from_start = Vector(memory, 0, 0)
        self.from_payload = Vector(memory, HEADER, 0)
        self.heads = self.view.cast("I")[:: STRIDE // HEADER]
        """The first four bytes of each slot, a channel header, as a number in the byte order of this machine."""
        self._segmented = _Segmented()

    def receive(self, descriptor: int, vector: Vector) -> list[int]:
        """Sizes of the datagrams that now lie in the first slots; empty when there are none."""
        count = _recvmmsg(descriptor, vector.address, SLOTS, _MSG_DONTWAIT, None)
        if count <= 0:
            return []  # also for an ICMP error that an earlier datagram caused: nothing was lost by it here
        if count == 1:
            return [vector.lengths[0]]  # the usual case when nobody is in a hurry
        lengths: list[int] = vector.lengths[:count].tolist()
        return lengths

    def receive_joined(self, descriptor: int, vector: Vector) -> tuple[list[int], list[int] | None]:
        """The same of a socket with UDP_GRO, and `Vector.joined`."""
        vector.expect_joined()
        lengths = self.receive(descriptor, vector)
        return lengths, vector.joined(len(lengths)) if lengths else None

    def send_equal(self, descriptor: int, vector: Vector, start: int, stop: int, size: int) -> int:
        """The same as `send` for slots of one size, with less."""
        vector.sizes[2 * start + 1 : 2 * stop : 2] = array("Q", [size]) * (stop - start)
        at_once = MAX_BYTES // size if size and KERNEL_CAN else 1
        if at_once < 2:
            return self.send(descriptor, vector, start, stop)
        refused = 0
        while start < stop:
            end = min(stop, start + at_once)
            # it fails if the device cannot, if the path is too narrow for one of them, or for an earlier ICMP error
            if not self._segmented.send(descriptor, vector, start, end, size):
                refused += self.send(descriptor, vector, start, end)
            start = end
        return refused

    def send(self, descriptor: int, vector: Vector, start: int, stop: int) -> int:
        """Send slots start to stop-1 to the peer of a connected socket. Returns how many the kernel did not take."""
        refused = 0
        failed_at = -1
        while start < stop:
            count = _sendmmsg(
                descriptor, vector.address + start * ctypes.sizeof(_Message), stop - start, _MSG_DONTWAIT
            )
            if count > 0:
                start += count
            elif ctypes.get_errno() in _FULL:
                return refused + stop - start
            elif failed_at == start:
                refused += 1
                start += 1
            else:
                failed_at = start  # the error may be an ICMP answer to something earlier, and is gone now
        return refused
