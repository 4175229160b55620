"""One platform for all clients, and keys of it with the settings that a client needs."""

import json
import textwrap
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.platform import Platform

ALIASES = ("dall-e-2", "dall-e-3", "gpt-image-1")
MINT = """
    import json
    from accounts.keys import keys
    from accounts.models import Organization
    organization = Organization.objects.get(memberships__user__email="flows@example.com")
    print(json.dumps(keys.mint(organization=organization, name="A client", **{terms!r})[1]))
"""


@dataclass(frozen=True)
class ClientKey:
    """A key for one client, and what it has cost."""

    platform: Platform
    secret: str

    @property
    def environment(self) -> dict[str, str]:
        """What the programs read."""
        return {"BASE_URL": f"{self.platform.base_url}/v1", "API_KEY": self.secret}

    @property
    def spent_micros(self) -> int:
        """What was charged for calls with this key."""
        request = urllib.request.Request(
            f"{self.platform.base_url}/v1/key", headers={"Authorization": f"Bearer {self.secret}"}
        )
        with urllib.request.urlopen(request) as answer:
            spend: dict[str, Any] = json.load(answer)["spend"]["key"]
        return int(spend["spent_micros"] + spend["pending_micros"])


@pytest.fixture(scope="session")
def blank_platform(start_platform: Callable[..., Platform]) -> Platform:
    """A platform that generates noise at once: it is the clients that are tried."""
    started = start_platform(INFERENCE_ENGINE="blank")
    assert started.api_key
    return started


@pytest.fixture
def make_key(blank_platform: Platform) -> Callable[..., ClientKey]:
    """A function that makes a key with those settings."""

    def make(**terms: Any) -> ClientKey:
        code = textwrap.dedent(MINT.format(terms=terms))
        printed = blank_platform.manage("shell", "--no-imports", "--command", code).stdout
        return ClientKey(blank_platform, json.loads(printed.splitlines()[-1]))

    return make
