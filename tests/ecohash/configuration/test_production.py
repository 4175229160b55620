"""What production refuses to start with: unsafe values, and stand-ins that nobody allowed."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from ecohash.configuration import checks, production
from inference.checkpoints import MINIATURE
from tests.ecohash.configuration.starting import PEPPER, REAL, SECRET

SAFE: dict[str, Any] = {
    "secret_key": SECRET,
    "key_pepper": PEPPER,
    "webhook_secrets": ["whsec_b7Uq2Zk9XfT4nRw8", ""],
    "base_url": "https://api.example.com",
    "allowed_hosts": ["10.0.0.7", ".example.com"],
    "trusted_proxies": 1,
    "database_url": "postgres://db/ecohash",
    "debug": False,
}
UNSAFE: list[tuple[dict[str, Any], str]] = [
    ({"secret_key": "short"}, "SECRET_KEY must hold at least 32"),
    ({"secret_key": "s" * 40}, "SECRET_KEY has too few"),
    ({"secret_key": "0a1b2c3d4e5f" * 4}, "SECRET_KEY has too few"),
    ({"secret_key": "django-insecure-" + SECRET}, "SECRET_KEY is a well-known placeholder"),
    ({"secret_key": "Change_Me-" + SECRET}, "SECRET_KEY is a well-known placeholder"),
    ({"secret_key": "<at least 32 random characters>"}, "SECRET_KEY must hold"),
    ({"secret_key": "<at least thirty-two random characters>"}, "SECRET_KEY is a well-known"),
    ({"key_pepper": "1:short"}, "KEY_PEPPER must hold"),
    ({"key_pepper": "short"}, "KEY_PEPPER must hold"),
    ({"key_pepper": f"2:{SECRET[::-1]},1:short"}, "KEY_PEPPER must hold"),
    ({"key_pepper": "1:" + "p" * 40}, "KEY_PEPPER has too few"),
    ({"key_pepper": "1:your-secret-" + SECRET[::-1]}, "KEY_PEPPER is a well-known placeholder"),
    ({"key_pepper": "1:" + SECRET}, "KEY_PEPPER must differ from SECRET_KEY"),
    ({"key_pepper": f"2:{PEPPER[2:]},{PEPPER}"}, "KEY_PEPPER must hold another secret for each"),
    ({"webhook_secrets": ["whsec_"]}, "A webhook secret"),
    ({"webhook_secrets": ["whsec_aaaaaaaaaaaaaaaaaaaaaaaa"]}, "A webhook secret"),
    ({"webhook_secrets": ["", "whsec_changeme_1234567890"]}, "A webhook secret"),
    ({"base_url": "http://api.example.com"}, "BASE_URL"),
    ({"base_url": ""}, "BASE_URL"),
    ({"allowed_hosts": ["*"]}, "ALLOWED_HOSTS must name the hosts"),
    ({"trusted_proxies": 0}, "TRUSTED_PROXIES must be the number"),
    ({"database_url": ""}, "DATABASE_URL"),
    ({"database_url": "sqlite:///x.db"}, "DATABASE_URL"),
    ({"debug": True}, "DEBUG"),
]


def test_safe_values_pass() -> None:
    assert production.problems(**SAFE) == []


@pytest.mark.parametrize(("values", "problem"), UNSAFE)
def test_each_unsafe_value_is_named_with_its_remedy(values: dict[str, Any], problem: str) -> None:
    [found] = production.problems(**SAFE | values)
    assert found.startswith(problem)
    assert "\n" not in found


def test_no_sentence_repeats_a_secret() -> None:
    found = production.problems(**SAFE | {"secret_key": "hush", "key_pepper": "1:whisper"})
    assert "hush" not in str(found)
    assert "whisper" not in str(found)


def test_no_random_secret_is_refused() -> None:
    for _ in range(500):
        for made in (secrets.token_hex(16), secrets.token_urlsafe(24), secrets.token_urlsafe(48)):
            assert production.weakness(made) == "", made


@pytest.mark.parametrize(
    ("text", "peppers"),
    [
        ("", {}),
        ("abc", {1: "abc"}),
        ("1:abc", {1: "abc"}),
        ("2:new, 1:old", {2: "new", 1: "old"}),
        ("1:with:colons", {1: "with:colons"}),
    ],
)
def test_peppers_are_read_by_version(text: str, peppers: dict[int, str]) -> None:
    assert production.parse_peppers(text) == peppers


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1:aaa,bbb", "without its version"),
        ("aaa,bbb", "without its version"),
        ("1:aaa,1:bbb", "version 1 twice"),
        ("01:aaa,1:bbb", "version 1 twice"),
        ("1:", "no secret for version 1"),
        ("2:aaa,1:", "no secret for version 1"),
        ("0:aaa", "versions from 1"),
        ("-1:aaa", "versions from 1"),
        ("x:aaa", "must look like"),
        ("32768:aaa", "versions from 1"),
    ],
)
def test_peppers_that_would_replace_or_lose_one_are_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as refusal:
        production.parse_peppers(text)
    assert "aaa" not in str(refusal.value)


STANDING_IN: list[tuple[dict[str, str], str, str]] = [
    ({"SECRET_KEY": ""}, "secrets", "SECRET_KEY is not set"),
    ({"KEY_PEPPER": ""}, "secrets", "KEY_PEPPER is not set"),
    ({"EMAIL_URL": ""}, "mail", "EMAIL_URL is not set"),
    ({"STRIPE_SECRET_KEY": ""}, "stripe", "STRIPE_SECRET_KEY is not set"),
    ({"FLUX_MODEL": ""}, "miniature", "FLUX_MODEL names no weights but"),
    ({"FLUX_MODEL": str(MINIATURE)}, "miniature", "FLUX_MODEL names no weights but"),
    ({"INFERENCE_ENGINE": "blank"}, "blank", "INFERENCE_ENGINE is blank"),
    ({"INFERENCE_ENGINE": "blank", "FLUX_MODEL": ""}, "blank", "INFERENCE_ENGINE is blank"),
    ({"S3_BUCKET": ""}, "pictures", "S3_BUCKET is not set"),
    ({"REDIS_URL": ""}, "redis", "REDIS_URL is not set"),
]


def used(values: Mapping[str, str], **options: Any) -> list[production.StandIn]:
    return production.stand_ins(lambda name: values.get(name, ""), **options)


def test_nothing_stands_in_where_everything_is_real() -> None:
    assert used(REAL) == []


@pytest.mark.parametrize(("values", "name", "problem"), STANDING_IN)
def test_each_stand_in_is_named_with_both_ways_out(
    values: dict[str, str], name: str, problem: str
) -> None:
    [found] = used(REAL | values)
    assert found.name == name
    assert str(found).startswith(problem)
    assert "Set it to" in str(found)
    assert str(found).endswith(f"add {name} to ALLOWED_STAND_INS.")


def test_every_stand_in_is_tried_here() -> None:
    assert {name for _, name, _ in STANDING_IN} == set(production.STAND_INS)


def test_a_copy_of_the_miniature_is_a_miniature(tmp_path: Path) -> None:
    (tmp_path / "ecohash.json").write_bytes((MINIATURE / "ecohash.json").read_bytes())
    assert [one.name for one in used(REAL | {"FLUX_MODEL": str(tmp_path)})] == ["miniature"]


def test_where_only_credit_pays_nothing_stands_in_for_stripe() -> None:
    assert used(REAL | {"STRIPE_SECRET_KEY": ""}, allowed={"credit"}) == []


def test_each_named_stand_in_is_one_warning_in_production_alone(settings: Settings) -> None:
    settings.STAND_INS = used({})
    assert checks.stand_ins() == []
    settings.PRODUCTION = True
    found = checks.stand_ins()
    assert len(found) == len(settings.STAND_INS) == 7
    assert all(warning.hint for warning in found)
