"""The database of a test process: migrated once in a run and copied, and emptied of what a test left.

Django's own ways take seconds for each process of a parallel run, and after each test with
real transactions as long as the test itself.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management.color import no_style
from django.db import connection
from django.test import TransactionTestCase

from billing.ledger import pricing

# What only migrations fill.
KEPT = {"django_migrations", "django_content_type", "auth_permission"}


@pytest.fixture(scope="session")
def django_db_setup(django_test_environment: None, django_db_blocker: Any) -> Iterator[None]:
    """In place of pytest-django's, for SQLite: a copy of the file that the first process has migrated."""
    database: Any = settings.DATABASES["default"]
    own = database["TEST"]["NAME"]
    template = Path(os.environ["TEST_RUN_FOLDER"]) / "migrated.sqlite3"
    with django_db_blocker.unblock():
        with template.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not template.exists():
                connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
                # The last connection moves all that was written into the file.
                connection.close()
                shutil.copyfile(own, template)
        shutil.copyfile(template, own)
        connection.close()
        database["NAME"] = connection.settings_dict["NAME"] = own
        yield
        connection.close()


@cache
def tables() -> list[str]:
    """Those that tests may fill."""
    return sorted(set(connection.introspection.table_names()) - KEPT)


def empty(_case: Any = None) -> None:
    """Delete every row that is there. Most tables have none, and to look costs less than to delete."""
    looks = (f"SELECT '{name}' WHERE EXISTS (SELECT 1 FROM \"{name}\")" for name in tables())  # noqa: S608 - names of ours
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(looks))
        filled = [name for (name,) in cursor.fetchall()]
    if filled:
        # Otherwise PostgreSQL truncates no table to which others, though empty, refer.
        cascade = connection.vendor == "postgresql"
        statements = connection.ops.sql_flush(no_style(), filled, allow_cascade=cascade)
        connection.ops.execute_sql_flush(statements)
        # The tests that follow begin as after the migrations.
        pricing.set_default_prices()


def empty_quickly() -> None:
    """After a test with real transactions, in place of Django's flush of all tables."""
    TransactionTestCase._fixture_teardown = empty  # type: ignore[attr-defined]
