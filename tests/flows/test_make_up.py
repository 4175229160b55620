"""`manage.py up`: it comes up by itself, repairs itself, and leaves nothing behind."""

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.platform import Platform

pytestmark = pytest.mark.flows

PNG = b"\x89PNG\r\n\x1a\n"


def test_the_line_it_prints_draws_a_picture_when_pasted(platform: Platform, tmp_path: Path) -> None:
    line = re.search(r"^curl .*$", platform.terminal, re.MULTILINE)
    assert line, platform.terminal
    done = subprocess.run(
        ["bash", "-c", line[0]], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "saved fox.png\n"
    assert (tmp_path / "fox.png").read_bytes().startswith(PNG)


def test_a_refusal_is_printed_in_words(platform: Platform, tmp_path: Path) -> None:
    line = re.search(r"^curl .*$", platform.terminal, re.MULTILINE)
    assert line
    wrong = re.sub(r"eco_\w+", "eco_wrong", line[0])
    done = subprocess.run(
        ["bash", "-c", wrong], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "API key" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_up_explains_itself(platform: Platform) -> None:
    done = platform.manage("up", check=False)
    assert done.returncode == 1
    assert "already runs" in done.stderr


@pytest.mark.parametrize("name", ["web", "default", "beat"])
def test_what_is_killed_is_back_within_seconds(platform: Platform, name: str) -> None:
    before = set(platform.pids(name))
    os.kill(min(before), signal.SIGKILL)

    def replaced() -> bool:
        return bool(set(platform.pids(name)) - before) and platform.status("/healthz") == 200

    assert platform.wait_for(replaced, f"back: {name}") < 20


def test_orphans_of_a_killed_web_server_end(platform: Platform) -> None:
    before = platform.pids("web")
    os.kill(before[0], signal.SIGKILL)
    platform.wait_for(lambda: not set(before) & set(platform.pids("web")), "rid of the orphans")
    platform.wait_for(lambda: platform.status("/healthz") == 200, "back")


def test_a_killed_supervisor_is_cleaned_up_after_and_a_closed_terminal_leaves_no_process(
    start_platform: Callable[..., Platform],
) -> None:
    """That Ctrl-C leaves none either is checked where a run of the tests stops its platforms."""
    blank = start_platform(INFERENCE_ENGINE="blank", WEB_CONCURRENCY="1")
    key = blank.api_key
    assert blank.everything()
    blank.stop(signal.SIGKILL)
    assert blank.everything(), "the programs outlive it: nobody told them"
    blank.start()
    assert "that an earlier run had left behind" in blank.terminal
    assert len(blank.pids("beat")) == 1
    assert blank.manage("create_account", "second@example.com", "--json").returncode == 0
    assert key not in blank.terminal
    blank.stop(signal.SIGHUP)
    assert blank.process.returncode == 0
    assert not blank.everything()


def test_the_file_limit_is_raised_for_all(platform: Platform) -> None:
    limits = Path(f"/proc/{platform.pids('web')[0]}/limits")
    if not limits.exists():
        pytest.skip("no /proc here")
    soft, hard = re.search(r"Max open files\s+(\d+)\s+(\d+)", limits.read_text()).groups()  # type: ignore[union-attr]
    assert soft == hard


def test_no_log_holds_a_key_or_a_password(platform: Platform) -> None:
    secrets = [platform.api_key, platform.account["password"]]
    secrets += re.findall(r"(?:API key|Password) +(\S+)", platform.terminal)
    for path in platform.log_dir.iterdir():
        text = path.read_text()
        for secret in secrets:
            assert secret not in text, path.name
            assert shlex.quote(secret) not in text, path.name
