"""The backups of an SQLite database: whole or not there, private, checked, and kept for some days."""

import fcntl
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings as configured
from django.core.management import CommandError, call_command
from pytest_django import Settings

from ecohash.sqlite import backups
from ecohash.up import programs
from tests import servers

ROWS = 2_000


@pytest.fixture
def source(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A database of the default installation's kind, somebody's connection to it open."""
    path = tmp_path / "a folder?" / "ecohash.sqlite3"
    path.parent.mkdir()
    settings.VAR_DIR = path.parent
    monkeypatch.setitem(configured.DATABASES["default"], "ENGINE", "ecohash.sqlite")
    monkeypatch.setitem(configured.DATABASES["default"], "NAME", str(path))
    with closing(connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE thing (id INTEGER PRIMARY KEY, name TEXT UNIQUE)")
        database.execute("BEGIN")
        database.executemany("INSERT INTO thing (name) VALUES (?)", map(named, range(ROWS)))
        database.execute("COMMIT")
        yield path


def connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=0)


def named(number: int) -> tuple[str]:
    return (f"{number:0200}",)


def count(path: Path) -> int:
    with closing(connect(path)) as database:
        [(rows,)] = database.execute("SELECT count(*) FROM thing")
        return int(rows)


def files() -> set[str]:
    """What is in the folder of backups, without the lock."""
    return {path.name for path in backups.folder().iterdir()} - {backups.LOCK}


def test_a_backup_holds_what_was_committed_and_keeps_no_writer_waiting(source: Path) -> None:
    with closing(connect(source)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO thing (name) VALUES ('not yet')")
        path = backups.make()
        writer.execute("COMMIT")
    assert (count(path), count(source)) == (ROWS, ROWS + 1)
    assert path == source.parent / "backups" / f"ecohash-{backups.today()}.sqlite3"


def test_a_backup_is_for_its_owners_eyes_alone_and_the_only_file(source: Path) -> None:
    before = os.umask(0)
    try:
        path = backups.make()
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert files() == {path.name}


def test_one_by_hand_takes_the_place_of_todays(source: Path) -> None:
    backups.make()
    with closing(connect(source)) as writer:
        writer.execute("INSERT INTO thing (name) VALUES ('later')")
    out = StringIO()
    call_command("backup", stdout=out)
    assert str(backups.of_day(backups.today())) in out.getvalue()
    assert count(backups.of_day(backups.today())) == ROWS + 1
    assert len(files()) == 1


def test_the_program_makes_todays_once(source: Path) -> None:
    assert backups.look() == backups.LOOK_SECONDS
    made = backups.of_day(backups.today()).stat()
    assert backups.look() == backups.LOOK_SECONDS
    assert backups.of_day(backups.today()).stat().st_ino == made.st_ino


def old(days: int) -> str:
    return backups.of_day(backups.today() - timedelta(days=days)).name


def test_those_older_than_a_week_are_removed_and_nothing_else(source: Path) -> None:
    backups.folder().mkdir()
    others = {"ecohash-before-upgrade.sqlite3", "ecohash-2020-99-99.sqlite3", "notes.txt"}
    for name in {*map(old, range(1, 10)), *others}:
        (backups.folder() / name).touch()
    backups.make()
    assert files() == {*map(old, range(7)), *others}


def test_zero_days_keep_all(source: Path, settings: Settings) -> None:
    settings.BACKUP_DAYS = 0
    backups.folder().mkdir()
    (backups.folder() / old(400)).touch()
    backups.make()
    assert files() == {old(0), old(400)}


def forbid_its_rows(path: Path) -> None:
    """Rows that the table does not allow: copying does not notice them."""
    with closing(connect(path)) as database:
        database.execute("PRAGMA writable_schema = ON")
        database.execute(
            "UPDATE sqlite_master SET sql = replace(sql, 'UNIQUE', 'UNIQUE CHECK (length(name) < 5)')"
        )


def overwrite_a_page(path: Path) -> None:
    with closing(connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek(20 * 4096)
        file.write(b"\xff" * 4096)


@pytest.mark.parametrize(
    ("damage", "words"),
    [(forbid_its_rows, "damaged .*Keep the earlier"), (overwrite_a_page, "malformed")],
)
def test_a_damaged_database_takes_the_place_of_no_backup(
    source: Path, settings: Settings, damage: Callable[[Path], None], words: str
) -> None:
    settings.BACKUP_DAYS = 1
    before = backups.make().rename(backups.folder() / old(1))
    damage(source)
    with pytest.raises(backups.BackupFailed, match=words):
        backups.make()
    assert files() == {before.name}


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """As on a disk that fills up: whoever writes more gets an error."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_copy_that_cannot_be_finished_leaves_nothing_and_is_tried_again(
    source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with no_file_above(100_000):
        assert backups.look() == backups.RETRY_SECONDS
    assert files() == set()
    [line] = [line for line in caplog.records if line.levelname == "ERROR"]
    assert "could not be copied" in vars(line)["reason"]
    assert backups.look() == backups.LOOK_SECONDS
    assert count(backups.of_day(backups.today())) == ROWS


def test_the_disk_is_not_filled_up(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backups, "RESERVE_BYTES", 10**18)
    with pytest.raises(backups.BackupFailed, match="Make room"):
        backups.make()
    assert files() == set()


def test_what_a_killed_run_left_is_removed(source: Path) -> None:
    backups.folder().mkdir()
    (backups.folder() / backups.PARTIAL).write_bytes(b"half")
    made = backups.make()
    assert files() == {made.name}


def test_two_at_once_are_one(source: Path) -> None:
    backups.folder().mkdir()
    with (backups.folder() / backups.LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(CommandError, match="Another backup is being made"):
            call_command("backup")
    call_command("backup", stdout=StringIO())


def test_postgresql_is_left_to_its_own_tools(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(configured.DATABASES["default"], "ENGINE", "django.db.backends.postgresql")
    with pytest.raises(CommandError, match="pg_dump"):
        call_command("backup")
    assert "backup" not in [program.name for program in programs.programs()]


def test_the_program_runs_where_backups_are_wanted(source: Path, settings: Settings) -> None:
    assert "backup" in [program.name for program in programs.programs()]
    settings.BACKUP_DAYS = 0
    assert "backup" not in [program.name for program in programs.programs()]


def test_the_program_needs_no_apps(source: Path) -> None:
    """It runs all day for some seconds of work, and the apps would double its memory."""
    environment = os.environ | dict.fromkeys(servers.names_of_settings(), "")
    environment |= {"VAR_DIR": str(source.parent), "DJANGO_SETTINGS_MODULE": "ecohash.settings"}
    program = (
        "import sys; from ecohash.sqlite import backups; print(backups.look());"
        "sys.exit('django.db' in sys.modules)"
    )
    words = [sys.executable, "-c", program]
    done = subprocess.run(
        words, cwd=servers.ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(backups.LOOK_SECONDS)
    assert count(backups.of_day(backups.today())) == ROWS
