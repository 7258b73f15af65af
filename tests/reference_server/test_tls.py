"""The development certificate, judged by the ssl module."""

from __future__ import annotations

import ssl
import stat

import pytest

from reference_server.tls import issue_development_certificate


def handshake(files, server_name):
    """A TLS handshake in memory between a client that trusts only the CA file and a server."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(files.certificate_file, files.key_file)
    client_context = ssl.create_default_context(cafile=files.ca_file)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=server_name)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return client.version()


@pytest.mark.parametrize("name", ["127.7.7.7", "chatmail.test"])
def test_clients_that_trust_the_ca_verify_every_name(tmp_path, name):
    files = issue_development_certificate(tmp_path, ["127.7.7.7", "chatmail.test"])
    assert handshake(files, name) == "TLSv1.3"


def test_another_name_is_refused(tmp_path):
    files = issue_development_certificate(tmp_path, ["127.7.7.7"])
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(files, "127.7.7.8")


def test_the_authority_leaves_no_key(tmp_path):
    files = issue_development_certificate(tmp_path, ["127.0.0.1"])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["ca.pem", "cert.pem", "key.pem"]
    assert b"PRIVATE KEY" not in files.ca_file.read_bytes() + files.certificate_file.read_bytes()
    assert stat.S_IMODE(files.key_file.stat().st_mode) == 0o600


def test_a_restart_keeps_the_certificate_and_other_names_replace_it(tmp_path):
    first = issue_development_certificate(tmp_path, ["127.0.0.1"]).ca_file.read_bytes()
    assert issue_development_certificate(tmp_path, ["127.0.0.1"]).ca_file.read_bytes() == first
    assert issue_development_certificate(tmp_path, ["127.0.0.2"]).ca_file.read_bytes() != first


def test_a_damaged_key_is_replaced(tmp_path):
    files = issue_development_certificate(tmp_path, ["127.0.0.1"])
    files.key_file.write_bytes(files.key_file.read_bytes()[:60])
    assert handshake(issue_development_certificate(tmp_path, ["127.0.0.1"]), "127.0.0.1")
