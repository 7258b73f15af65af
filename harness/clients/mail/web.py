"""HTTPS as a client of a chatmail server needs it: `POST /new` gives an account (chatmail relay, `/new`)."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping, Sequence

from ...accounts import Credentials
from ...errors import plain
from ...hosts import Host
from ...target import Target

__all__ = ["HttpsConnection", "WebAccounts", "WebError", "WebRefused", "post_mail", "request_account"]

MAX_ANSWER = 64 * 1024


class WebError(Exception):
    """The server gave no account. The text has its words."""


class WebRefused(WebError):
    """It answered, and gave none on purpose: registration is closed."""


class HttpsConnection(http.client.HTTPSConnection):
    """http.client on a socket of a `Host`."""

    def __init__(self, network: Host, name: str, port: int, context: ssl.SSLContext, within: float) -> None:
        super().__init__(name, port, timeout=within, context=context)
        self._network = network
        self._tls = context
        self._within = within

    def connect(self) -> None:
        connection = self._network.connect(self.host, self.port, within=self._within)
        try:
            self.sock = self._tls.wrap_socket(connection, server_hostname=self.host)
        except OSError:
            connection.close()
            raise


def request_account(
    host: Host, name: str, port: int, context: ssl.SSLContext, *, within: float = 30.0
) -> tuple[str, str]:
    """Address and password of an account that the server has just made up. Raises `WebError`."""
    connection = HttpsConnection(host, name, port, context, within)
    try:
        connection.request("POST", "/new", headers={"Content-Length": "0"})
        answer = connection.getresponse()
        body = answer.read(MAX_ANSWER)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise WebError(f"no answer to POST https://{name}:{port}/new: {plain(error)}") from error
    finally:
        connection.close()
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, Mapping):
        raise WebError(f"POST /new was answered with {answer.status} and no JSON object")
    if answer.status != http.client.OK:
        why = data.get("reason") or data.get("error") or "no reason given"
        kind = WebRefused if answer.status == http.client.FORBIDDEN else WebError
        raise kind(f"POST /new was answered with {answer.status}: {why}")
    address, password = data.get("email"), data.get("password")
    if not isinstance(address, str) or not isinstance(password, str):
        raise WebError("POST /new was answered without email and password")
    return address, password


def post_mail(
    host: Host,
    target: Target,
    sender: str,
    recipients: Sequence[str],
    message: bytes,
    *,
    within: float = 30.0,
) -> int:
    """Bring a mail as madmail's servers do, by `POST /mxdeliv`; the status of the answer. Raises `WebError`."""
    connection = HttpsConnection(host, target.host, target.https, target.ssl_context(), within)
    try:
        connection.putrequest("POST", "/mxdeliv")
        connection.putheader("X-Mail-From", sender)
        for each in recipients:
            connection.putheader("X-Mail-To", each)
        connection.putheader("Content-Length", str(len(message)))
        connection.endheaders(message)
        answer = connection.getresponse()
        answer.read(MAX_ANSWER)
    except (OSError, http.client.HTTPException) as error:
        url = f"https://{target.host}:{target.https}/mxdeliv"
        raise WebError(f"no answer to POST {url}: {plain(error)}") from error
    finally:
        connection.close()
    return answer.status


class WebAccounts:
    """Asks the server for each account with `POST /new`."""

    def __init__(self, host: Host) -> None:
        self.left_behind = 0
        self._host = host

    def begin(self) -> None:
        """Every account is new anyway."""

    def new(self, target: Target) -> Credentials:
        """Raises `harness.clients.mail.web.WebError` when the server gives none."""
        address, password = request_account(self._host, target.host, target.https, target.ssl_context())
        self.left_behind += 1
        return Credentials(address, password)

    any = new
