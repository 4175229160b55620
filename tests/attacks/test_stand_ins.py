"""Production with stand-ins and wrong settings: each process refuses to start, and says what to do.

Real processes, each with the command line that an operator's own supervisor would use.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ecohash.configuration import environment, production
from images.catalog import FLUX_SCHNELL
from tests import servers
from tests.platform import Platform, clean_environment

pytestmark = pytest.mark.attacks

PATIENCE_SECONDS = 60
CELERY = ("-m", "celery", "--quiet", "--app", "ecohash")
PROCESSES = {
    "web": ("-m", "gunicorn", "-c", "python:ecohash.gunicorn_conf", "ecohash.wsgi"),
    "default": (*CELERY, "worker", "--queues", "default", "--concurrency", "1"),
    "stripe": (*CELERY, "worker", "--queues", "stripe", "--concurrency", "1"),
    "gpu": (*CELERY, "worker", "--pool", "solo", "--queues", FLUX_SCHNELL.queue),
    "beat": (*CELERY, "beat"),
    "up": ("manage.py", "up"),
}
# Nothing listens at any of these: a refusal comes before the first connection.
REAL = {
    "ECOHASH_ENV": "production",
    "SECRET_KEY": "b2b7b1e0c63f3f9d41f6a2c05d8c7e9a",
    "KEY_PEPPER": "1:9f0c62d7a1be48350b6d1c7f2e83a94d",
    "BASE_URL": "https://images.example.com",
    "TRUSTED_PROXIES": "1",
    "DATABASE_URL": "postgres://ecohash@127.0.0.1:1/ecohash",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "EMAIL_URL": "smtp://127.0.0.1:1",
    "STRIPE_SECRET_KEY": "sk_live_abc",
    "STRIPE_WEBHOOK_SECRET": "whsec_b7Uq2Zk9XfT4nRw8",
    "FLUX_MODEL": "/srv/flux",
    "S3_BUCKET": "pictures",
    "AWS_DEFAULT_REGION": "eu-south-1",
}
STAND_INS = {
    "secrets": {"SECRET_KEY": "", "KEY_PEPPER": ""},
    "mail": {"EMAIL_URL": ""},
    "stripe": {"STRIPE_SECRET_KEY": "", "STRIPE_WEBHOOK_SECRET": ""},
    "miniature": {"FLUX_MODEL": ""},
    "blank": {"INFERENCE_ENGINE": "blank"},
    "pictures": {"S3_BUCKET": ""},
    "redis": {"REDIS_URL": ""},
}
UNSAFE = {
    "SECRET_KEY": "s" * 40,
    "KEY_PEPPER": "1:changeme",
    "BASE_URL": "http://images.example.com",
    "TRUSTED_PROXIES": "0",
    "DATABASE_URL": "sqlite:///x.sqlite3",
    "ALLOWED_HOSTS": "*",
    "DEBUG": "true",
}
# Found by system checks, so only after the settings are loaded.
UNCHECKED = {
    "INFERENCE_ENGINE": ("magic", "inference.E001"),
    "STRIPE_SECRET_KEY": ("pk_live_abc", "billing.E002"),
    "LEAK_REPORT_PUBLIC_KEYS": ("/nowhere", "accounts.E002"),
}


@dataclass
class Site:
    """A folder and a port of its own."""

    folder: Path
    port: int

    def start(self, process: str, **values: str) -> subprocess.Popen[str]:
        """That process, with those settings over the real ones; its words go to `words()`."""
        settings = {"VAR_DIR": str(self.folder / "var"), "PORT": str(self.port)} | REAL | values
        # gunicorn reads it before any file of ours, and stumbles over an empty one.
        settings["WEB_CONCURRENCY"] = "1"
        with (self.folder / "words.txt").open("w") as words:
            return subprocess.Popen(
                [sys.executable, *PROCESSES[process]],
                cwd=servers.ROOT,
                env=clean_environment(**settings),
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                text=True,
            )

    def words(self) -> str:
        return (self.folder / "words.txt").read_text()

    def refusal(self, process: str, **values: str) -> list[str]:
        """What that process says when it does not start: one line for each problem."""
        started = self.start(process, **values)
        try:
            status = started.wait(PATIENCE_SECONDS)
        finally:
            if started.poll() is None:
                os.killpg(started.pid, signal.SIGKILL)
                started.wait()
        words = self.words()
        assert status == environment.EXIT_MISCONFIGURED, words
        assert "Traceback" not in words
        # gunicorn says before that it starts; nothing may follow.
        _, headline, told = words.partition("EcoHash will not start ")
        assert headline, words
        return told.splitlines()[1:]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path, servers.free_port())


def all_wrong(*, engine: str) -> dict[str, str]:
    """Every stand-in at once, but one of the two engines."""
    left_out = {"blank": "miniature", "miniature": "blank"}[engine]
    values: dict[str, str] = {}
    for name, changes in STAND_INS.items():
        values |= changes if name != left_out else {}
    return values


@pytest.mark.parametrize("process", PROCESSES)
def test_each_process_names_every_stand_in_and_both_ways_out(process: str, site: Site) -> None:
    """CI has one start of each process for all stand-ins; the matrix below has them one by one."""
    engine = ("blank", "miniature")[list(PROCESSES).index(process) % 2]
    lines = site.refusal(process, **all_wrong(engine=engine))
    named = [
        re.search(r"Set it to .*, or add (\w+) to ALLOWED_STAND_INS\.$", line) for line in lines
    ]
    assert all(named), lines
    wanted = set(production.STAND_INS) - {"blank", "miniature"} | {engine}
    assert {match[1] for match in named if match} == wanted
    assert not (site.folder / "var" / "secrets").exists()


def test_the_matrix_of_processes_and_stand_ins(site: Site, *, full: bool) -> None:
    """One stand-in at a time, in each process; short, the miniature in a GPU worker."""
    for name, changes in STAND_INS.items() if full else [("miniature", STAND_INS["miniature"])]:
        for process in PROCESSES if full else ["gpu"]:
            lines = site.refusal(process, **changes)
            assert len(lines) == (2 if name == "secrets" else 1), lines
            for line in lines:
                assert line.endswith(f"or add {name} to ALLOWED_STAND_INS."), line
                assert line.split()[0] in changes, line


def test_each_unsafe_value_is_one_line_in_each_process(site: Site, *, full: bool) -> None:
    for process in PROCESSES if full else ["gpu"]:
        lines = site.refusal(process, **UNSAFE)
        assert sorted(line.split()[0] for line in lines) == sorted(UNSAFE), lines
        assert "s" * 40 not in str(lines)


@pytest.mark.parametrize("process", PROCESSES)
def test_each_process_reads_the_system_checks(process: str, site: Site) -> None:
    """Celery ignores them by itself. A web server that bound its port first would find it taken."""
    values = {name: value for name, (value, _) in UNCHECKED.items()}
    with servers.taken_port() as port:
        site.port = port if process == "web" else site.port
        lines = site.refusal(process, **values)
    ids = sorted(line.rpartition("(")[2].rstrip(")") for line in lines)
    assert ids == sorted(check for _, check in UNCHECKED.values()), lines
    assert "pk_live_abc" not in str(lines)


@pytest.mark.parametrize("process", PROCESSES)
def test_a_var_dir_that_cannot_be_is_one_line_in_each_process(process: str, site: Site) -> None:
    (site.folder / "var").touch()
    [line] = site.refusal(process, **dict.fromkeys(REAL, ""))
    assert line.startswith("VAR_DIR cannot be used"), line


def test_beat_needs_its_folder_in_production_too(site: Site) -> None:
    (site.folder / "var").touch()
    [line] = site.refusal("beat")
    assert line.startswith("VAR_DIR cannot be used"), line


def test_up_without_its_database_is_one_line(site: Site, *, full: bool) -> None:
    """The pool tries for ten seconds; short, a file that is no database is told at once."""
    values = REAL if full else dict.fromkeys(REAL, "")
    (site.folder / "var").mkdir(mode=0o700)
    (site.folder / "var" / "ecohash.sqlite3").write_text("no database" * 100)
    started = site.start("up", **values)
    assert started.wait(PATIENCE_SECONDS) == 1, site.words()
    assert "CommandError: The database cannot be prepared (" in site.words()
    assert "Traceback" not in site.words()


# --- what is named, or real, starts ---------------------------------------------------------------------

ODD = "it's 100% %(ENV_HOME)s #1 ;2 日本"


@pytest.fixture
def shop() -> Iterator[Platform]:
    """`manage.py up` in production: PostgreSQL, everything else a stand-in that is named, an odd path."""
    folder = Path(tempfile.mkdtemp(prefix="eco-up-")).resolve() / ODD
    folder.mkdir()
    port = servers.free_port()
    values = REAL | {name: "" for changes in STAND_INS.values() for name in changes}
    values |= {
        "VAR_DIR": str(folder / "var"),
        "PORT": str(port),
        "STRIPE_SANDBOX_PORT": str(servers.free_port()),
        "DATABASE_URL": servers.start_postgres(),
        "INFERENCE_ENGINE": "blank",
        "ALLOWED_STAND_INS": ",".join(production.STAND_INS),
        "WEB_CONCURRENCY": "1",
        "AWS_DEFAULT_REGION": "",
    }
    platform = Platform(folder / "var", port, clean_environment(**values))
    yield platform
    if not hasattr(platform, "process"):  # skipped
        return
    platform.stop()
    left = platform.pids()
    shutil.rmtree(folder.parent)
    assert platform.process.returncode == 0
    assert not left


def ask(platform: Platform, path: str) -> tuple[int, str]:
    """Status and body, as the proxy in front would ask."""
    headers = {
        "Host": "images.example.com",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-For": "1.2.3.4",
    }
    request = urllib.request.Request(platform.base_url + path, headers=headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.status, answer.read().decode()


def test_up_serves_in_production_with_its_stand_ins_named(shop: Platform, *, full: bool) -> None:
    if not full:
        pytest.skip("in short, one process of it starts, in the next test")
    shop.start()
    assert ask(shop, "/readyz")[0] == 200
    status, page = ask(shop, "/login")
    assert status == 200
    style = re.search(r'href="(/static/ecohash/app\.[0-9a-f]+\.css)"', page)
    assert style and ask(shop, style[1])[0] == 200
    assert "demo@" not in shop.terminal
    assert "API key" not in shop.terminal
    made = shop.manage("create_account", "only@example.com", "--json")
    assert made.returncode == 0, "the demo account is not there, and nobody else"
    in_use = {name for name in production.STAND_INS if name != "miniature"}
    for name in ("web", "default", "stripe", "gpu1", "beat"):
        warnings = re.findall(r"(\w+) .{0,120}ALLOWED_STAND_INS allows it", log_of(shop, name))
        # Each of the two secrets is one.
        assert len(warnings) == len(in_use) + 1, (name, warnings)
    assert shop.var_dir.stat().st_mode & 0o777 == 0o700


def log_of(platform: Platform, name: str) -> str:
    return (platform.log_dir / f"{name}.log").read_text()


def test_each_process_starts_where_everything_is_real(site: Site, *, full: bool) -> None:
    """As far as each comes without the servers behind those addresses; short, the web server alone."""
    signs = {
        "web": "Listening at",
        "default": "Cannot connect to redis",
        "stripe": "Cannot connect to redis",
        "beat": "beat: Connection error",
    }
    for process, sign in signs.items() if full else [("web", signs["web"])]:
        started = site.start(process)
        try:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while sign not in site.words() and started.poll() is None:
                assert time.monotonic() < deadline, (process, site.words())
                time.sleep(0.05)
            assert started.poll() is None, (process, site.words())
        finally:
            if started.poll() is None:
                os.killpg(started.pid, signal.SIGKILL)
            started.wait()
        assert "ALLOWED_STAND_INS" not in site.words()
