"""`.env`: what is taken from it, and what a line that cannot be read leads to."""

import os
from pathlib import Path

import environ
import pytest

from ecohash.configuration import environment

ODD = "pa$$HOME ${HOME} 100%s #1 ;2 `id` \\n 日本"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of a `.env`, an environment without its names, and no mistake so far."""
    monkeypatch.setattr(environ.Env, "ENVIRON", os.environ)
    for name in ("ONE_VALUE", "ANOTHER_VALUE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(environment, "mistakes", [])
    return tmp_path / ".env"


@pytest.mark.parametrize("line", [f"ONE_VALUE={ODD}", f"export ONE_VALUE='{ODD}'"])
def test_a_value_is_taken_as_it_is(file: Path, line: str) -> None:
    file.write_text(f"# a comment\n\n{line}\r\n")
    environment.read_env_file(file)
    assert os.environ["ONE_VALUE"] == ODD
    assert environment.mistakes == []


def test_a_byte_order_mark_hides_no_name(file: Path) -> None:
    file.write_text("ONE_VALUE=1\nANOTHER_VALUE=2\n", encoding="utf-8-sig")
    environment.read_env_file(file)
    assert (os.environ["ONE_VALUE"], os.environ["ANOTHER_VALUE"]) == ("1", "2")


@pytest.mark.parametrize("line", ["ONE_VALUE = hush", " ONE_VALUE=hush", "ONE_VALUE: hush"])
def test_a_line_that_cannot_be_read_is_named_without_its_value(
    file: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, line: str
) -> None:
    file.write_text(f"ANOTHER_VALUE=2\n{line}\n")
    environment.read_env_file(file)
    assert environment.mistakes == [
        ".env, line 2: write NAME=value, without spaces around the name, or begin it with #."
    ]
    assert "hush" not in caplog.text + "".join(capfd.readouterr())


def test_without_a_file_there_is_nothing_to_read(file: Path) -> None:
    environment.read_env_file(file)
    assert environment.mistakes == []


def test_a_file_in_another_encoding_is_a_mistake(file: Path) -> None:
    file.write_bytes("ONE_VALUE=é\n".encode("latin-1"))
    environment.read_env_file(file)
    assert environment.mistakes == [
        ".env cannot be read (UnicodeDecodeError). It must be text in UTF-8."
    ]
