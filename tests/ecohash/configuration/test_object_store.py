"""What is said about an S3 when the settings are checked, and how a fresh process reads it."""

from pathlib import Path

import pytest

from ecohash.configuration import checks
from tests.ecohash.configuration.starting import start
from tests.object_store import configured


@pytest.mark.parametrize(
    ("origin", "base_url", "word"),
    [
        ("http://minio:9000", "http://127.0.0.1:8000", "own network"),
        ("http://images.example.com", "https://example.com", "https"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:8000", ""),
        ("http://localhost:9000", "http://127.0.0.1:8000", ""),
        ("https://pics.s3.eu-south-1.amazonaws.com", "https://example.com", ""),
        ("", "https://example.com", ""),
    ],
)
def test_an_address_that_browsers_cannot_open_is_known(
    origin: str, base_url: str, word: str
) -> None:
    problem = checks.unreachable(origin, base_url=base_url)
    assert word in problem
    assert bool(problem) == bool(word)


def test_links_to_a_store_of_ones_own_network_are_warned_of(settings) -> None:
    settings.OBJECT_STORE = configured(endpoint="http://minio:9000")
    [warning] = checks.object_store()
    assert warning.id == "ecohash.W004"
    assert "S3_PUBLIC_ENDPOINT_URL" in str(warning.hint)
    settings.OBJECT_STORE = configured(endpoint="http://minio:9000", links="stream")
    assert checks.object_store() == []


@pytest.mark.parametrize(
    "values",
    [
        {"AWS_REGION": "eu-south-1"},
        {"AWS_S3_ENDPOINT_URL": "http://minio:9000", "S3_LINKS": "stream"},
        {
            "AWS_S3_ENDPOINT_URL": "http://minio:9000",
            "S3_PUBLIC_ENDPOINT_URL": "https://images.example.com",
            "S3_ADDRESSING_STYLE": "Virtual",
        },
    ],
)
def test_right_values_start(tmp_path: Path, values: dict[str, str]) -> None:
    started = start(tmp_path, S3_BUCKET="pictures", **values)
    assert started.returncode == 0, started.stderr


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"S3_LINKS": "proxy"}, "S3_LINKS"),
        ({"S3_ADDRESSING_STYLE": "host"}, "S3_ADDRESSING_STYLE"),
        ({"S3_PUBLIC_ENDPOINT_URL": "https://a.example/minio"}, "S3_PUBLIC_ENDPOINT_URL"),
        ({"STORAGE_TIMEOUT_SECONDS": "600"}, "STORAGE_TIMEOUT_SECONDS"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, values: dict[str, str], name: str) -> None:
    started = start(
        tmp_path, S3_BUCKET="pictures", AWS_S3_ENDPOINT_URL="http://minio:9000", **values
    )
    assert name in started.stderr
    assert started.returncode
