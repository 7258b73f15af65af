"""dovecot 2.3 (Debian's packages `dovecot-imapd` and `dovecot-lmtpd`): IMAP in front of a server, as in chatmail relay.

It asks the server behind it for accounts and METADATA, by its dict protocol, and gets the mail from it by LMTP.
"""

from __future__ import annotations

import grp
import os
import pwd
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ..hosts import Host
from ..network.namespace import program
from ..scratch import scratch_directory
from ..target import Service
from .certificates import Certificate, issue
from .process import Process, accepts, refuse_taken, version_of
from .server import Place, Running, ServerError, Wants, require

__all__ = ["Dovecot"]

CONFIG = """\
base_dir = {base}
state_dir = {directory}/state
log_path = /dev/stderr
protocols = imap lmtp
listen = {listen}
default_internal_user = {owner.user}
default_internal_group = {owner.group}
default_login_user = {owner.user}
first_valid_uid = 1
ssl = yes
ssl_cert = <{certificate.chain}
ssl_key = <{certificate.key}
mail_location = maildir:{directory}/mail/%u
imap_metadata = yes
imap_capability = +XCHATMAIL
mail_attribute_dict = proxy:{sockets}/dict:metadata
mail_max_userip_connections = 0
auth_mechanisms = plain
auth_username_chars =
namespace inbox {{
  inbox = yes
}}
passdb {{
  driver = dict
  args = {directory}/auth.conf
}}
userdb {{
  driver = static
  args = uid={owner.user} gid={owner.group} home={directory}/mail/%u allow_all_users=yes
}}
protocol lmtp {{
  postmaster_address = postmaster@localhost
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {ports.imap}
  }}
  inet_listener imaps {{
    port = {ports.imaps}
    ssl = yes
  }}
}}
service lmtp {{
  unix_listener {sockets}/lmtp {{
    mode = 0600
  }}
}}
service stats {{
  chroot =
}}
"""
"""All checks come from a few addresses: these are not made to wait for each other's wrong passwords (`anvil`)."""
AUTH = """\
uri = proxy:{sockets}/dict:auth
iterate_disable = yes
password_key = passdb/%Ew"%Eu"%r
"""
OWN_NAME = "localhost"
"""In what it adds to mail: by itself it asks DNS for the name of this machine, which nobody in a lab knows."""
NOBODY, NOGROUP = 65534, 65534
AS_NOBODY = ("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOGROUP}")
"""Its processes refuse to be root, and in a lab of an ordinary user there is nobody else (user_namespaces(7))."""


@dataclass(frozen=True)
class _Owner:
    """The user whose files they are, as dovecot sees it."""

    user: str
    group: str
    start: tuple[str, ...]
    """The words before the program's name."""

    @classmethod
    def find(cls) -> _Owner:
        uid, gid = os.geteuid(), os.getegid()
        start: tuple[str, ...] = ()
        if uid == 0:
            uid, gid, start = NOBODY, NOGROUP, AS_NOBODY
        try:
            return cls(pwd.getpwuid(uid).pw_name, grp.getgrgid(gid).gr_name, start)
        except KeyError as error:
            raise ServerError(f"dovecot needs a user and a group with names: {error}") from error


class Dovecot:
    """IMAP with METADATA. It provides no service alone: mail is its own and that of the server behind it."""

    name = "dovecot"
    services = frozenset[Service]()
    translates = frozenset({"both_families"})

    def __init__(self, binary: Path | None = None) -> None:
        """`binary`: another `dovecot` than that of the system."""
        self._binary = binary

    def sockets(self, place: Place) -> Path:
        """Directory in which it and the server behind it find each other."""
        return _sockets(place)

    def start(self, host: Host, place: Place, wants: Wants) -> Running:
        """Start it at the ports of the place, which are those that the server behind it left free."""
        require(self, wants)
        assert place.ports is not None
        binary = str(self._binary or program("dovecot"))
        version = version_of(host, binary)
        ports = (place.ports.imaps, place.ports.imap)
        refuse_taken(host, self.name, place.address, {"tcp": ports})
        directory = place.directory(self.name)
        names = (place.address, place.name, place.address6, *place.certified)
        certificate = issue(directory, [each for each in names if each])
        with ExitStack() as stack:
            # Short, as the path of a socket has 107 characters at most (unix(7)).
            base = stack.enter_context(scratch_directory("dovecot"))
            owner = _Owner.find()
            config = directory / "dovecot.conf"
            config.write_text(_config(place, wants, certificate, owner, base))
            process = Process(
                self.name,
                host,
                [*owner.start, binary, "-F", "-c", config],
                log=place.logs / "dovecot.log",
                ready=lambda: all(accepts(host, place.address, port) for port in ports),
                ready_when=f"accept connections at {place.address} TCP port {ports[0]} and {ports[1]}",
                within=place.within,
                version=f"dovecot {version}",
                environment=dict.fromkeys(("DOVECOT_HOSTNAME", "DOVECOT_HOSTDOMAIN"), OWN_NAME),
            )
            stack.enter_context(process)
            process.start()
            return Running(self.name, {Service.MAIL: process}, ca_file=certificate.ca, ends=stack.pop_all())


def _sockets(place: Place) -> Path:
    return place.directory("dovecot-sockets")


def _config(place: Place, wants: Wants, certificate: Certificate, owner: _Owner, base: Path) -> str:
    assert place.ports is not None
    directory, sockets = place.directory(Dovecot.name), _sockets(place)
    (directory / "auth.conf").write_text(AUTH.format(sockets=sockets))
    (directory / "mail").mkdir(exist_ok=True)
    return CONFIG.format(
        base=base,
        directory=directory,
        listen=f"{place.address}, {place.address6}" if wants.both_families else place.address,
        owner=owner,
        certificate=certificate,
        sockets=sockets,
        ports=place.ports,
    )
