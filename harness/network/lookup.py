"""Looking a name up as a program in a namespace would: in its files, then at its name servers, over its network.

Our own `getaddrinfo` would read the machine's files. dnspython is slow to load, so this module is loaded when needed.
"""

from __future__ import annotations

import io
import select
import socket
from collections.abc import Iterable

import dns.exception
import dns.message
import dns.rcode
import dns.rdatatype
import dns.resolver

from ..waiting import Deadline
from .namespace import Namespace
from .resolver import HOSTS, RESOLV_CONF

__all__ = ["resolve"]

PORT = 53
ATTEMPTS, ATTEMPT_WITHIN = 2, 5.0
"""As glibc and musl do it (resolv.conf(5))."""
DATAGRAM = 4096


def resolve(namespace: Namespace, name: str) -> tuple[str, ...]:
    """The addresses of a name as a program inside would get them.

    Raises `socket.gaierror` with the numbers of `getaddrinfo`: EAI_NONAME, and EAI_AGAIN after `ATTEMPTS` without an
    answer, or with one that is no answer. It may take 10 s.
    """
    if known := _in_hosts(namespace.call(HOSTS.read_text), name):
        return known
    configuration = dns.resolver.Resolver(configure=False)
    configuration.read_resolv_conf(io.StringIO(namespace.call(RESOLV_CONF.read_text)))
    reasons = {}
    for server in [str(each) for each in configuration.nameservers] * ATTEMPTS:
        try:
            return _ask(namespace, server, name)
        except _NoAnswer as why:
            reasons[server] = str(why)
    said = ", ".join(f"{server} {why}" for server, why in reasons.items()) or "there is no name server"
    raise socket.gaierror(socket.EAI_AGAIN, f"{name}: {said}")


class _NoAnswer(Exception):
    """A name server did not help. The text completes a sentence that begins with its address."""


def _in_hosts(hosts: str, name: str) -> tuple[str, ...]:
    entries = (line.partition("#")[0].split() for line in hosts.splitlines())
    return tuple(entry[0] for entry in entries if name.lower() in (each.lower() for each in entry[1:]))


def _ask(namespace: Namespace, server: str, name: str) -> tuple[str, ...]:
    """Ask once for addresses of both families, at the same time.

    Raises `_NoAnswer`, and `socket.gaierror` when the answer is that there is none.
    """
    try:
        queries = [dns.message.make_query(name, kind) for kind in (dns.rdatatype.AAAA, dns.rdatatype.A)]
    except (dns.exception.DNSException, UnicodeError):
        raise socket.gaierror(socket.EAI_NONAME, "that is no name of a host") from None
    answers: dict[int, dns.message.Message] = {}
    deadline = Deadline(ATTEMPT_WITHIN)
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with namespace.socket(family, socket.SOCK_DGRAM) as connection:
        try:
            connection.connect((server, PORT))
            for query in queries:
                connection.send(query.to_wire())
            while len(answers) < len(queries):
                if not select.select([connection], [], [], deadline.remaining())[0]:
                    raise _NoAnswer(f"did not answer within {ATTEMPT_WITHIN:g} s")
                answer = dns.message.from_wire(connection.recv(DATAGRAM))
                answers |= {index: answer for index, query in enumerate(queries) if query.is_response(answer)}
        except (OSError, dns.exception.DNSException) as error:
            raise _NoAnswer(f"cannot be asked: {error}") from error
    codes = {each.rcode() for each in answers.values()}
    if failures := codes - {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
        raise _NoAnswer(f"says {_texts(failures)}")
    found = tuple(
        record.address
        for index in sorted(answers)
        for rrset in answers[index].answer
        for record in rrset
        if record.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA)
    )
    if not found:
        raise socket.gaierror(socket.EAI_NONAME, f"{name} has no address: {server} says {_texts(codes)}")
    return found


def _texts(codes: Iterable[dns.rcode.Rcode]) -> str:
    return ", ".join(sorted(dns.rcode.to_text(each) for each in codes))
