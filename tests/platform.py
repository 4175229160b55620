"""The real platform in a folder of its own: `manage.py up`, as a person at a terminal would start it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from ecohash.up import leftovers
from tests import servers

READY_SECONDS = 180
STOP_SECONDS = 60


@dataclass
class Platform:
    """A running platform; `environment` holds what differs from an empty one."""

    var_dir: Path
    port: int
    environment: dict[str, str]
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log_dir(self) -> Path:
        return self.var_dir / "log"

    @property
    def terminal(self) -> str:
        """What was printed so far."""
        return (self.var_dir.parent / "terminal.txt").read_text()

    @property
    def last_words(self) -> str:
        """The end of each log."""
        logs = sorted(self.log_dir.glob("*.log"))
        return "\n".join(f"--- {path.name}\n{path.read_text()[-1_000:]}" for path in logs)

    @cached_property
    def account(self) -> dict[str, str]:
        """An account without limits and with credit for 5,000 pictures."""
        made = self.manage(
            "create_account",
            "flows@example.com",
            "--no-limits",
            "--credit-micros",
            "100000000",
            "--json",
        )
        account: dict[str, str] = json.loads(made.stdout)
        return account

    @property
    def api_key(self) -> str:
        return self.account["api_key"]

    def start(self) -> None:
        """Start it and wait until it says that it is ready."""
        with (self.var_dir.parent / "terminal.txt").open("wb") as terminal:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "up"],
                cwd=servers.ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=terminal,
                stderr=subprocess.STDOUT,
                # A process group of its own, as a shell gives to what runs in the foreground.
                start_new_session=True,
            )
        self.wait_for(lambda: "Logs:" in self.terminal, "ready", READY_SECONDS)

    def stop(self, number: int = signal.SIGINT) -> None:
        """Ctrl-C; returns when it has ended."""
        self.send(number)
        self.process.wait(STOP_SECONDS)

    def send(self, number: int) -> None:
        """What a terminal sends to all that runs in its foreground."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def manage(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a `manage.py` command beside it."""
        return subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=servers.ROOT,
            env=self.environment,
            check=check,
            capture_output=True,
            text=True,
        )

    def pids(self, name: str = "") -> list[int]:
        """The processes of one program (web, default, beat, gpu1), the parent first, or of all."""
        return leftovers.running(name, var_dir=self.var_dir)

    def everything(self) -> list[str]:
        """Command lines of all processes that name this folder: supervisord and Redis too."""
        lines = (" ".join(words) for _, words in leftovers.command_lines())
        return [line for line in lines if str(self.var_dir) in line]

    def status(self, path: str) -> int:
        """The status of a GET; 0 while nobody answers."""
        try:
            with urllib.request.urlopen(self.base_url + path, timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except OSError:
            return 0

    def wait_for(self, condition: Callable[[], Any], what: str, seconds: float = 30) -> float:
        """Until it holds; returns how long that took."""
        started = time.monotonic()
        while not condition():
            assert self.process.poll() is None, f"the platform ended:\n{self.terminal}"
            if time.monotonic() - started > seconds:
                pytest.fail(f"not {what} after {seconds} s:\n{self.terminal}\n{self.last_words}")
            time.sleep(0.1)
        return time.monotonic() - started


def clean_environment(**settings: str) -> dict[str, str]:
    """Ours without this test run's own servers; settings of a developer's `.env` stay out."""
    environment = os.environ | dict.fromkeys(servers.names_of_settings(), "")
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    return environment | settings


@pytest.fixture(scope="session")
def start_platform() -> Iterator[Callable[..., Platform]]:
    """A function that starts a platform with those settings; all are stopped at the end."""
    started: list[Platform] = []

    def start(**settings: str) -> Platform:
        # Under /tmp and short, for the socket's sake.
        folder = Path(tempfile.mkdtemp(prefix="eco-up-")).resolve()
        port = servers.free_port()
        settings = {
            "VAR_DIR": str(folder / "var"),
            "PORT": str(port),
            "STRIPE_SANDBOX_PORT": str(servers.free_port()),
        } | settings
        platform = Platform(folder / "var", port, clean_environment(**settings))
        started.append(platform)
        platform.start()
        return platform

    yield start
    left = []
    for platform in started:
        platform.send(signal.SIGINT)
    for platform in started:
        platform.process.wait(STOP_SECONDS)
        assert platform.process.returncode == 0, platform.last_words
        left += platform.everything()
        shutil.rmtree(platform.var_dir.parent, ignore_errors=True)
    assert not left, "processes outlived their platform"


@pytest.fixture(scope="session")
def platform(start_platform: Callable[..., Platform]) -> Platform:
    """The platform with the miniature, one GPU worker and two web processes, shared by all flows."""
    return start_platform()
