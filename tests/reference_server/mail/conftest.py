from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from reference_server.certificates import DevelopmentCertificate
from reference_server.mail.settings import Limits, MailSettings, PasswordHashCost
from reference_server.mail.strategies import Strategies
from reference_server.tls import issue_development_certificate
from tests.reference_server.mail.running import RunningMail

StartMail = Callable[..., RunningMail]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> DevelopmentCertificate:
    return issue_development_certificate(
        tmp_path_factory.mktemp("tls"), ["127.0.0.1", "localhost", "chatmail.test"]
    )


@pytest.fixture
def start_mail(tmp_path: Path, certificate: DevelopmentCertificate) -> Iterator[StartMail]:
    """Starts a mail service on free ports, as often as wanted, on the same database."""
    with ExitStack() as running:

        def start(
            *, limits: Limits | None = None, strategies: Strategies | None = None, **settings: Any
        ) -> RunningMail:
            mail = RunningMail(
                MailSettings(
                    state=tmp_path,
                    tls_cert=certificate.certificate_file,
                    tls_key=certificate.key_file,
                    submissions_port=0,
                    submission_port=0,
                    https_port=0,
                    password_hash_cost=PasswordHashCost.LOW,
                    limits=limits or Limits(),
                    **{"imaps_port": 0, "imap_port": 0, "tls_ca": certificate.ca_file, **settings},
                ),
                strategies,
            )
            running.callback(mail.stop)
            return mail

        yield start


@pytest.fixture
def mail(start_mail: StartMail) -> RunningMail:
    return start_mail(iroh_relay_url="http://127.0.0.1:3340")
