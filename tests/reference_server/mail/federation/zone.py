"""A name server on the loopback with the records that a test gives it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence

import dns.exception
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset


class Zone:
    """Answers over UDP from construction to `close`. Names are written without the last dot."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.failing: set[str] = set()
        """Names of which it says SERVFAIL."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def set(self, name: str, kind: str, *values: str) -> None:
        self.records[name, kind] = list(values)

    def txt(self, name: str, text: str) -> None:
        """One record in pieces of 255 bytes."""
        pieces = [text[start : start + 250] for start in range(0, len(text), 250)]
        self.set(name, "TXT", " ".join(f'"{piece}"' for piece in pieces))

    def close(self) -> None:
        self._socket.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            wire, asker = self._socket.recvfrom(4096)
            if not wire:
                return
            try:
                self._socket.sendto(self._answer(dns.message.from_wire(wire)).to_wire(), asker)
            except dns.exception.DNSException:
                continue

    def _answer(self, query: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(query, recursion_available=True)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        if name in self.failing:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif (alias := self.records.get((name, "CNAME"))) is not None:
            response.answer.append(_rrset(question.name.to_text(), "CNAME", alias))
            self._append(response, alias[0].rstrip("."), kind)
        elif not any(known == name for known, _kind in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        else:
            self._append(response, name, kind)
        return response

    def _append(self, response: dns.message.Message, name: str, kind: str) -> None:
        if values := self.records.get((name, kind)):
            response.answer.append(_rrset(f"{name}.", kind, values))


def _rrset(name: str, kind: str, values: Sequence[str]) -> dns.rrset.RRset:
    return dns.rrset.from_text(name, 0, dns.rdataclass.IN, kind, *values)
