"""Backups of an SQLite database: one file a day in VAR_DIR/backups, checked, and kept for BACKUP_DAYS.

`python -m ecohash.sqlite.backups` is the program that makes them. It has a process of its own because a
gigabyte takes half a minute to copy and check, and the default worker may not be held up for so long.
"""

import fcntl
import logging
import logging.config
import os
import re
import shutil
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NoReturn

from django.conf import settings

from ecohash.configuration import environment

# Its own name also where it is run as a program.
logger = logging.getLogger("ecohash.sqlite.backups")

NAME = re.compile(r"ecohash-(\d{4}-\d{2}-\d{2})\.sqlite3", re.ASCII)
PARTIAL = ".backup.partial"
LOCK = ".lock"
# A copy leaves at least so much of the disk free, because the platform writes to it.
RESERVE_BYTES = 64 * 1024 * 1024
BUSY_SECONDS = 20
CHECK_CACHE_KIB = 65_536
# Not at once: everything else starts at the same moment.
FIRST_LOOK_SECONDS = 60
LOOK_SECONDS = 600
RETRY_SECONDS = 3_600
NICENESS = 10


class BackupFailed(Exception):
    """No backup was made; earlier ones are untouched. The text says why and what to do."""


def is_possible() -> bool:
    """Whether the database is one that is backed up here; PostgreSQL has its own tools."""
    return bool(settings.DATABASES["default"]["ENGINE"] == "ecohash.sqlite")


def folder() -> Path:
    """The folder of the backups."""
    return Path(settings.VAR_DIR) / "backups"


def of_day(day: date) -> Path:
    """The backup of that day."""
    return folder() / f"ecohash-{day}.sqlite3"


def today() -> date:
    """The day in UTC."""
    return datetime.now(UTC).date()


def make() -> Path:
    """Copy the database as it is now to the file of today, in place of an earlier copy of today.

    Writers go on meanwhile. Nobody sees the file before it is whole and checked.

    Raises:
        BackupFailed
    """
    if not is_possible():
        raise BackupFailed(
            "Only an SQLite database is backed up here. For PostgreSQL use pg_dump; "
            "see Backup and restore in docs/operations.md."
        )
    source = Path(settings.DATABASES["default"]["NAME"])
    try:
        folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        folder().chmod(0o700)
        with _alone():
            return _make(source, of_day(today()))
    except (OSError, sqlite3.Error) as error:
        raise BackupFailed(f"{source} could not be copied to {folder()}: {error}.") from error


def _make(source: Path, target: Path) -> Path:
    started = time.monotonic()
    partial = folder() / PARTIAL
    # Of a run that was killed.
    partial.unlink(missing_ok=True)
    _require_room(source)
    try:
        _copy(source, partial)
        _check(partial)
        _replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    logger.info(
        "database backed up",
        extra={
            "file": target.name,
            "bytes": target.stat().st_size,
            "seconds": round(time.monotonic() - started, 1),
        },
    )
    _remove_old()
    return target


@contextmanager
def _alone() -> Iterator[None]:
    """One backup at a time: the program's and one by hand would write to the same file.

    Raises:
        BackupFailed: another is being made.
    """
    handle = os.open(folder() / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise BackupFailed("Another backup is being made. Wait until it is done.") from None
    finally:
        os.close(handle)


def _require_room(source: Path) -> None:
    """Refuse before the disk is full: the platform would fail with it.

    Raises:
        BackupFailed
    """
    log = source.with_name(f"{source.name}-wal")
    needed = source.stat().st_size + (log.stat().st_size if log.exists() else 0) + RESERVE_BYTES
    free = shutil.disk_usage(folder()).free
    if free < needed:
        raise BackupFailed(
            f"The disk of {folder()} has {free // 1_000_000:,} MB free, and a backup needs "
            f"{needed // 1_000_000:,} MB. Make room, or lower BACKUP_DAYS."
        )


def _copy(source: Path, target: Path) -> None:
    # VACUUM INTO takes an empty file, and leaves its mode as it is.
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    address = f"{source.absolute().as_uri()}?mode=rw"
    with closing(
        sqlite3.connect(address, uri=True, isolation_level=None, timeout=BUSY_SECONDS)
    ) as database:
        database.execute("VACUUM INTO ?", (str(target),))


def _check(copy: Path) -> None:
    """Read all of the copy.

    Raises:
        BackupFailed: it is damaged, and so most likely is the database.
    """
    # Opened for reading only, SQLite 3.40 passes over rows that a constraint of their table forbids.
    address = f"{copy.absolute().as_uri()}?mode=rw"
    with closing(sqlite3.connect(address, uri=True)) as database:
        database.execute(f"PRAGMA cache_size = -{CHECK_CACHE_KIB}")
        found = [str(row[0]) for row in database.execute("PRAGMA integrity_check(3)")]
    if found != ["ok"]:
        raise BackupFailed(
            f"The copy is damaged ({'; '.join(found)}), so the database is too. Keep the earlier "
            "backups, and see Backup and restore in docs/operations.md."
        )


def _replace(partial: Path, target: Path) -> None:
    """Give the copy its name, and have both on the disk before anything older is removed."""
    _flush(partial)
    partial.replace(target)
    _flush(folder())


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_old() -> None:
    """Only after a new one was made, so that the last one stays however long backups fail."""
    if not settings.BACKUP_DAYS:
        return
    oldest = today() - timedelta(days=settings.BACKUP_DAYS - 1)
    for path in folder().iterdir():
        found = NAME.fullmatch(path.name)
        with suppress(ValueError):  # no such day
            if found and date.fromisoformat(found[1]) < oldest:
                path.unlink()
                logger.info("old backup removed", extra={"file": path.name})


def look() -> int:
    """Make the backup of today where it is missing; returns the seconds until the next look."""
    if of_day(today()).exists():
        return LOOK_SECONDS
    try:
        make()
    except BackupFailed as failure:
        logger.error("database not backed up", extra={"reason": str(failure)})  # noqa: TRY400
        return RETRY_SECONDS
    return LOOK_SECONDS


def run() -> NoReturn:
    """Call `look` for ever."""
    os.nice(NICENESS)
    time.sleep(FIRST_LOOK_SECONDS)
    while True:
        time.sleep(look())


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ecohash.settings")
    # Neither models nor apps are needed: this is half the memory of a `manage.py` command.
    with environment.exit_if_misconfigured():
        logging.config.dictConfig(settings.LOGGING)
    sys.exit(run())
