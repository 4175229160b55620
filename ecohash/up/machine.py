"""Preconditions of a start on this machine: folders, a lock, free ports and open files."""

import fcntl
import os
import resource
import socket

from django.conf import settings

from ecohash.configuration import development

# supervisord closes every handle from 5 up when it starts and from 3 up in each child, so a lock
# held under this number lasts exactly as long as supervisord does.
LOCK_FD = 3


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
    """Fail now rather than restart a server for ever.

    Raises:
        CannotStart: something listens there.
    """
    check_port("PORT", settings.PORT, host="0.0.0.0" if settings.PRODUCTION else "127.0.0.1")  # noqa: S104 - as gunicorn
    if settings.STRIPE_SANDBOX:
        check_port("STRIPE_SANDBOX_PORT", settings.STRIPE_SANDBOX_PORT)


def check_port(name: str, port: int, *, host: str = "127.0.0.1") -> None:
    """The port that this setting names is free.

    Raises:
        CannotStart
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
            raise CannotStart(message) from error


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
