from __future__ import annotations

import pytest

from reference_server.addresses import claim_any_address


@pytest.fixture
def host():
    """An address that nobody else uses. UDP 3478 on it is free."""
    host, claim = claim_any_address()
    claim.close()
    return host
