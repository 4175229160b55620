"""Two platforms for most attacks: each start costs ten seconds, and few of them need one to themselves."""

import json
from collections.abc import Callable, Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.attacks.beside import Beside
from tests.platform import Platform

# A stopping web process waits for its callers so long and five seconds more: see ecohash/gunicorn_conf.py.
IMAGE_TIMEOUT_SECONDS = 3


@pytest.fixture(scope="session")
def attacked(
    start_platform: Callable[..., Platform], tmp_path_factory: pytest.TempPathFactory
) -> Platform:
    """A platform with the blank engine, where reports of leaked keys are taken."""
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    keys = tmp_path_factory.mktemp("keys") / "public-keys.json"
    keys.write_text(json.dumps({"public_keys": [{"key_identifier": "one", "key": pem}]}))
    return start_platform(
        INFERENCE_ENGINE="blank",
        IMAGE_TIMEOUT_SECONDS=str(IMAGE_TIMEOUT_SECONDS),
        LEAK_REPORT_PUBLIC_KEYS=str(keys),
    )


@pytest.fixture(scope="session")
def drawing_seconds(*, full: bool) -> int:
    """What an image takes on the slow platform."""
    return 2 if full else 1


@pytest.fixture(scope="session")
def slow_platform(start_platform: Callable[..., Platform], drawing_seconds: int) -> Platform:
    """Another one, whose images take their time. Its books need not balance."""
    return start_platform(INFERENCE_ENGINE="blank", BLANK_ENGINE_SECONDS=str(drawing_seconds))


@pytest.fixture(scope="module")
def beside(slow_platform: Platform) -> Iterator[Beside]:
    """See beside.py."""
    process = Beside(slow_platform)
    yield process
    process.stop()
