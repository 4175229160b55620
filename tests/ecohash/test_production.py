"""What production refuses to start with, and what a development machine makes for itself."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ecohash import development, production

SAFE: dict[str, Any] = {
    "secret_key": "s" * 40,
    "key_pepper": "1:" + "p" * 40,
    "base_url": "https://api.example.com",
    "database_url": "postgres://db/ecohash",
    "debug": False,
}
UNSAFE: list[tuple[dict[str, Any], str]] = [
    ({"secret_key": ""}, "SECRET_KEY must be set"),
    ({"secret_key": "short"}, "SECRET_KEY must be set"),
    ({"key_pepper": ""}, "KEY_PEPPER must be set"),
    ({"key_pepper": "1:short"}, "KEY_PEPPER must hold"),
    ({"key_pepper": "2:" + "n" * 40 + ",1:short"}, "KEY_PEPPER must hold"),
    ({"key_pepper": "1:" + "s" * 40}, "KEY_PEPPER must differ"),
    ({"base_url": "http://api.example.com"}, "BASE_URL"),
    ({"base_url": ""}, "BASE_URL"),
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


def test_no_sentence_repeats_a_secret() -> None:
    found = production.problems(**SAFE | {"secret_key": "hush", "key_pepper": "1:whisper"})
    assert "hush" not in str(found)
    assert "whisper" not in str(found)


@pytest.mark.parametrize(
    ("text", "peppers"),
    [("", {}), ("abc", {1: "abc"}), ("1:abc", {1: "abc"}), ("2:new, 1:old", {2: "new", 1: "old"})],
)
def test_peppers_are_read_by_version(text: str, peppers: dict[int, str]) -> None:
    assert production.parse_peppers(text) == peppers


def start(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Load the settings in a process of their own."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-c", "import ecohash.settings as s; print(s.PRODUCTION, s.DEBUG)"],
        env=kept | {"VAR_DIR": str(tmp_path)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_production_does_not_start_with_nothing_set(tmp_path: Path) -> None:
    started = start(tmp_path, ECOHASH_ENV="production")
    assert started.returncode
    for name in ("SECRET_KEY", "KEY_PEPPER", "BASE_URL", "DATABASE_URL"):
        assert name in started.stderr
    assert not (tmp_path / "secrets").exists()


def test_production_starts_with_safe_values(tmp_path: Path) -> None:
    values = {name.upper(): str(value) for name, value in SAFE.items() if name != "debug"}
    started = start(tmp_path, ECOHASH_ENV="production", **values)
    assert started.stdout.split() == ["True", "False"], started.stderr


def test_development_needs_no_setting_and_is_not_debug(tmp_path: Path) -> None:
    assert start(tmp_path).stdout.split() == ["False", "False"]


def test_another_environment_is_refused(tmp_path: Path) -> None:
    assert "ECOHASH_ENV must be" in start(tmp_path, ECOHASH_ENV="prod").stderr


def test_a_development_secret_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    secret = development.kept_secret(tmp_path, "SECRET_KEY")
    assert development.kept_secret(tmp_path, "SECRET_KEY") == secret
    assert development.kept_secret(tmp_path, "KEY_PEPPER") != secret
    assert len(secret) >= 32
    path = tmp_path / "secrets" / "SECRET_KEY"
    assert path.stat().st_mode & 0o077 == 0
    assert list(path.parent.glob(".*")) == []


def test_a_socket_in_a_deep_folder_moves_to_the_temp_folder(tmp_path: Path) -> None:
    assert development.socket_path(Path("/srv/var"), "redis.sock") == Path("/srv/var/redis.sock")
    deep = tmp_path / ("deep" * 30)
    path = development.socket_path(deep, "redis.sock")
    assert len(str(path)) < 104
    assert path == development.socket_path(deep, "redis.sock")
    assert path != development.socket_path(deep / "er", "redis.sock")
