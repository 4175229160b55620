"""Preconditions of a start on this machine: folders, a lock, free ports and open files."""

import fcntl
import os
import resource
import socket

from django.conf import settings

from ecohash.configuration import development
from ecohash.configuration.environment import HIGHEST_PORT

# supervisord closes every handle from 5 up when it starts and from 3 up in each child, so a lock
# held under this number lasts exactly as long as supervisord does.
LOCK_FD = 3
# Those below it need rights that nobody should run this with.
LOWEST_FREE_PORT = 1_024
PORTS_TRIED = 200
DEFAULT_PORT = 8_000


class CannotStart(Exception):
    """The platform cannot start here; the text says why and what to do."""


def make_folders() -> None:
    """VAR_DIR and what must be in it, readable by this user alone.

    Raises:
        CannotStart: a folder belongs to somebody else or cannot be made.
    """
    for folder in (settings.VAR_DIR, settings.VAR_DIR / "log", settings.REDIS_SOCKET.parent):
        try:
            development.make_private_folder(folder)
            if folder == settings.REDIS_SOCKET.parent and folder.stat().st_uid != os.geteuid():
                message = f"{folder} belongs to another user. Set VAR_DIR to a shorter path."
                raise CannotStart(message)
            if folder == settings.BASE_DIR / "var":
                # Ours by its name. Another folder may have other uses: a check warns there.
                folder.chmod(development.PRIVATE)
        except OSError as error:
            raise CannotStart(development.var_dir_problem(error)) from error


def take_lock() -> int:
    """A file handle that holds VAR_DIR until this process, or what it becomes by exec, ends.

    Raises:
        CannotStart: another `up` has it.
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
        raise CannotStart(message) from None
    os.ftruncate(handle, 0)
    os.write(handle, str(os.getpid()).encode())
    return handle


def keep_lock_through_exec(handle: int) -> None:
    """Move the lock to the one number that supervisord neither closes nor hands on."""
    if handle != LOCK_FD:
        os.dup2(handle, LOCK_FD)
    os.set_inheritable(LOCK_FD, True)  # noqa: FBT003 - positional in the standard library


def check_ports() -> None:
    """Fail now rather than restart a server for ever, or call another program's server ours.

    Raises:
        CannotStart: a port is taken; each taken one is named, with the next that is free.
    """
    web = "0.0.0.0" if settings.PRODUCTION else "127.0.0.1"  # noqa: S104 - as gunicorn
    wanted = [("PORT", "the web server", settings.PORT, web)]
    if settings.STRIPE_SANDBOX:
        wanted.append(
            ("STRIPE_SANDBOX_PORT", "the sandbox", settings.STRIPE_SANDBOX_PORT, "127.0.0.1")
        )
    reasons, instead = [], []
    for name, purpose, port, host in wanted:
        if reason := why_not(port, host=host):
            reasons.append(f"Port {port} ({name}, for {purpose}) cannot be used: {reason}.")
            instead.append(f"{name}={next_free(port, host=host)}")
    if reasons:
        advice = f"Stop what uses it, or choose another: {' '.join(instead)} make up"
        raise CannotStart("\n".join([*reasons, advice]))


def why_not(port: int, *, host: str = "127.0.0.1") -> str:
    """Why this port cannot be listened on; empty where it can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or type(error).__name__
        except OverflowError:
            return "there is no such port"
    # Where a system shares ports between programs (macOS, SO_REUSEPORT), the attempt succeeds all the same.
    with socket.socket() as caller:
        caller.settimeout(1)
        if caller.connect_ex(("127.0.0.1", port)) == 0:
            return "another program answers there"
    return ""


def next_free(port: int, *, host: str) -> int:
    """The next port that can be used, of those that need no rights; it leaves room for the sandbox's."""
    first = max(port + 1, LOWEST_FREE_PORT)
    for candidate in range(first, min(first + PORTS_TRIED, HIGHEST_PORT + 1)):
        sandbox = candidate + 100
        free = not why_not(candidate, host=host)
        if free and (sandbox > HIGHEST_PORT or not why_not(sandbox)):
            return candidate
    return DEFAULT_PORT


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
