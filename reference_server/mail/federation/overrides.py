"""Where mail for a domain goes in place of its own servers, because the operator says so (madmail's DNS overrides).

A target is a host, asked over SMTP in place of the domain's MX, or the URL of an exchanger, which gets mail by
`POST /mxdeliv` and passes it on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from .mxdeliv import PATH
from .routes import address_in, is_domain

__all__ = ["BadOverride", "Override", "Overrides"]

MOST = 1000


class BadOverride(Exception):
    """Nothing that mail could be sent to. The text is for the operator."""


@dataclass(frozen=True)
class Override:
    key: str
    """The domain; an address has no brackets."""
    target: str
    comment: str

    @property
    def exchanger(self) -> SplitResult | None:
        """The URL that mail is posted to; None: the target is a host."""
        if "://" not in self.target:
            return None
        url = urlsplit(self.target)
        return url._replace(path=PATH.decode()) if url.path in ("", "/") else url

    @property
    def domain(self) -> str:
        """The host as a domain that can be looked up."""
        return self.target if address_in(f"[{self.target}]") is None else f"[{self.target}]"


class Overrides:
    """Overrides by domain, as an operator makes and deletes them."""

    def __init__(self) -> None:
        self._by_key: dict[str, Override] = {}

    def __iter__(self) -> Iterator[Override]:
        return iter(sorted(self._by_key.values(), key=lambda each: each.key))

    def set(self, key: str, target: str, comment: str = "") -> Override:
        """Make one, or replace it. Raises `BadOverride`."""
        made = Override(_key(key), target.strip().strip("[]"), comment)
        if not is_domain(made.key) and address_in(f"[{made.key}]") is None:
            raise BadOverride("lookup_key is no domain")
        if not _can_be_asked(made):
            raise BadOverride("target_host is neither a host nor an http or https URL")
        if made.key not in self._by_key and len(self._by_key) >= MOST:
            raise BadOverride(f"there are {MOST} overrides already")
        self._by_key[made.key] = made
        return made

    def delete(self, key: str) -> None:
        """Does nothing where there is none."""
        self._by_key.pop(_key(key), None)

    def find(self, domain: str) -> Override | None:
        """The override for the domain of an address."""
        return self._by_key.get(_key(domain))


def _key(domain: str) -> str:
    return domain.strip().lower().strip("[]")


def _can_be_asked(override: Override) -> bool:
    try:
        url = override.exchanger
        if url is None:
            return is_domain(override.domain.lower())
        host, port = url.hostname or "", url.port
    except ValueError:
        return False
    is_host = is_domain(host) or address_in(f"[{host}]") is not None
    return url.scheme in ("http", "https") and is_host and port != 0 and override.target.isprintable()
