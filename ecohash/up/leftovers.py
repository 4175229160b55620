"""Finds and ends the processes of an earlier run whose supervisord was killed."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import redis
from django.conf import settings

from ecohash.up.programs import mark, runs_redis

LEFTOVER_SECONDS = 10


def stop_leftovers() -> int:
    """End the processes that a killed supervisord left running; returns how many.

    Only call it with the lock in hand: then nobody supervises these processes any more.
    """
    left = found = running()
    for sent in (signal.SIGTERM, signal.SIGKILL):
        for pid in left:
            try:
                os.kill(pid, sent)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + LEFTOVER_SECONDS
        while (left := running()) and time.monotonic() < deadline:
            time.sleep(0.1)
    return len(found) + stop_leftover_redis()


def stop_leftover_redis() -> int:
    """End a Redis that answers on our own socket; returns how many, 0 or 1."""
    path: Path = settings.REDIS_SOCKET
    if not runs_redis() or not path.exists():
        return 0
    try:
        # A successful SHUTDOWN answers by closing the connection.
        redis.Redis(unix_socket_path=str(path), socket_timeout=LEFTOVER_SECONDS).shutdown(
            nosave=True
        )
    except redis.ConnectionError:
        path.unlink(missing_ok=True)
        return 0
    path.unlink(missing_ok=True)
    return 1


def running(name: str = "", *, var_dir: Path | None = None) -> list[int]:
    """The processes of this VAR_DIR: of one program, or of all. Redis is not among them."""
    wanted = mark(name, var_dir=var_dir)
    return sorted(
        pid
        for pid, words in command_lines()
        if any(word == wanted or (not name and word.startswith(wanted)) for word in words)
    )


def command_lines() -> Iterator[tuple[int, list[str]]]:
    """(process id, words) of the processes on this machine that we may see."""
    if Path("/proc/self/cmdline").exists():
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
                except OSError:
                    continue
                yield int(folder.name), words
        return
    listing = subprocess.run(
        ["ps", "-axww", "-o", "pid=,command="], capture_output=True, text=True, check=True
    )
    for line in listing.stdout.splitlines():
        pid, _, command = line.strip().partition(" ")
        yield int(pid), command.split()
