"""supervisord's configuration, and the process that reads it.

supervisord restarts what dies and stops web first, then the workers, then Redis. It writes no JSON
of its own; each program's log is `VAR_DIR/log/<name>.log`.
"""

import os
import shlex
import stat
import sys
from pathlib import Path

from django.conf import settings

from ecohash.configuration.environment import EXIT_MISCONFIGURED
from ecohash.up.machine import CannotStart
from ecohash.up.programs import WORKERS, Program, programs

LOG_BYTES = 10 * 1024 * 1024


def become_supervisord() -> None:
    """Replace this process by supervisord in the foreground, so that Ctrl-C reaches it directly."""
    path = settings.VAR_DIR / "supervisord.conf"
    path.write_text(config_text(programs(), terminal=terminal_path()))
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


def config_text(wanted: list[Program], *, terminal: str | None) -> str:
    """The text of supervisord.conf; `terminal` is the path to which some programs print, if there is one."""
    log = settings.VAR_DIR / "log"
    sections = [
        section(
            "supervisord",
            nodaemon="true",
            # Its output would mix with ours; its log has it.
            silent="true",
            logfile=log / "supervisord.log",
            logfile_maxbytes=LOG_BYTES,
            logfile_backups=1,
            pidfile=settings.VAR_DIR / "supervisord.pid",
            childlogdir=log,
            nocleanup="true",
            # Pictures, mails and the database are private to the user who runs this.
            umask="077",
            # For supervisord itself. Programs inherit the limit that is in force, which is higher.
            minfds=64,
            minprocs=16,
        )
    ]
    sections += [program_section(program, log=log, terminal=terminal) for program in wanted]
    workers = [program.name for program in wanted if program.priority == WORKERS]
    # supervisord stops one group after another, and the programs of a group at once.
    sections.append(section("group:workers", programs=",".join(workers), priority=WORKERS))
    return "\n".join(sections)


def program_section(program: Program, *, log: Path, terminal: str | None) -> str:
    """The lines of supervisord.conf for one program."""
    own_log: dict[str, object] = {
        "_logfile": escaped_again(log / f"{program.name}.log"),
        "_logfile_maxbytes": LOG_BYTES,
        "_logfile_backups": 3,
    }
    if program.prints_to_terminal and terminal:
        output = {f"stderr{name}": value for name, value in own_log.items()}
        output |= {"stdout_logfile": escaped_again(terminal), "stdout_logfile_maxbytes": 0}
    else:
        output = {f"stdout{name}": value for name, value in own_log.items()}
        output["redirect_stderr"] = "true"
    return section(
        f"program:{program.name}",
        command=shlex.join(program.command),
        # The folder that supervisord runs in is the programs' too: a path here would be one more
        # text to expand.
        priority=program.priority,
        # A program that ends is started again, unless its settings are wrong.
        autorestart="false" if program.runs_once else "unexpected",
        exitcodes=0 if program.runs_once else EXIT_MISCONFIGURED,
        startsecs=0 if program.runs_once else 1,
        # It waits one second longer after each failed start and never gives up.
        startretries=0 if program.runs_once else 1_000_000,
        stopwaitsecs=program.stop_seconds,
        # TERM goes to the parent alone: Celery's children die of it with their task. KILL, after
        # the wait, goes to all of them.
        stopasgroup="false",
        killasgroup="true",
        environment=program.environment,
        **output,
    )


def section(title: str, **values: object) -> str:
    """One section; % starts an expansion in supervisord's format.

    Raises:
        CannotStart: a value has a line break, so it would be two.
    """
    if any(len(str(value).splitlines()) > 1 for value in values.values()):
        message = "A path of this installation has a line break. Move it to a folder without one."
        raise CannotStart(message)
    lines = [f"{name}={str(value).replace('%', '%%')}" for name, value in values.items()]
    return "\n".join([f"[{title}]", *lines, ""])


def escaped_again(value: object) -> str:
    """For the names that supervisord expands once more than it says."""
    return str(value).replace("%", "%%")


def terminal_path() -> str | None:
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
