"""What every test stands on: a VAR_DIR, a Redis and a database of this process, made before the settings load.

Each process of a parallel run has its own. `--postgres` starts one PostgreSQL for all of them.
"""

import gc
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from tests import servers


def prepare_environment() -> None:
    """Point the settings at servers of our own; a developer's `.env` and variables are not read."""
    folder = servers.temporary_folder()
    database_url = os.environ.get("DATABASE_URL", "")
    if "--postgres" in sys.argv and not database_url:
        database_url = servers.start_postgres()
    # Empty, not absent: an absent name would be filled in from .env.
    os.environ.update(dict.fromkeys(servers.names_of_settings(), ""))
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "ecohash.settings",
        "VAR_DIR": str(folder / "var"),
        "REDIS_URL": servers.start_redis(folder),
        # The processes of a parallel run inherit it.
        "DATABASE_URL": database_url,
        # Nobody listens there until a test starts the sandbox.
        "STRIPE_SANDBOX_PORT": str(servers.free_port()),
        # What they share: the first to run makes it.
        "TEST_RUN_FOLDER": os.environ.get("TEST_RUN_FOLDER", str(folder)),
    }
    if "PYTEST_XDIST_WORKER" in os.environ:
        # Each process of a parallel run has one core: torch would give each of them all.
        os.environ["OMP_NUM_THREADS"] = "1"


def prepare_django() -> None:
    """Load the settings, with a test database that threads can share and cheap passwords."""
    import django
    from django.conf import settings

    database: Any = settings.DATABASES["default"]
    if database["ENGINE"] == "ecohash.sqlite":
        # In memory, each connection would have its own.
        database.setdefault("TEST", {})["NAME"] = str(settings.VAR_DIR / "test.sqlite3")
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    # pytest keeps each test's log, and shows it with a failure.
    root: Any = settings.LOGGING["root"]
    root["handlers"] = []
    django.setup()
    # With none at all, Python would print warnings by itself. Importing ecohash.wsgi sets Django up again.
    logging.getLogger().addHandler(logging.NullHandler())
    settings.LOGGING_CONFIG = None
    # Processes of a parallel run inherit the environment: with this name in it, pytest-django would
    # load the settings, with our folder and our Redis, before they come to make their own.
    del os.environ["DJANGO_SETTINGS_MODULE"]


def prepare_static_files() -> None:
    """Every test client builds the middleware anew: the static files are looked up for the first one."""
    from whitenoise.middleware import WhiteNoiseMiddleware  # type: ignore[import-untyped]

    look_up = WhiteNoiseMiddleware.add_files_from_finders
    found: dict[tuple[str, Any], dict[str, Any]] = {}

    def add_files(middleware: Any) -> None:
        place = (middleware.static_prefix, middleware.static_root)
        if place not in found:
            look_up(middleware)
            found[place] = middleware.files
        middleware.files = dict(found[place])

    WhiteNoiseMiddleware.add_files_from_finders = add_files


def prepare_hypothesis() -> None:
    """The same examples in every run; `HYPOTHESIS_PROFILE=thorough` looks for new ones, for an hour."""
    shared: Any = {
        "deadline": None,
        "database": None,
        # Each step asks a database, and steps that nothing can be done for are common.
        "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much],
    }
    quick: Any = {"derandomize": True, "max_examples": 30, "stateful_step_count": 40}
    thorough: Any = {"max_examples": 3_000, "stateful_step_count": 100}
    hypothesis_settings.register_profile("quick", **shared, **quick)
    hypothesis_settings.register_profile("thorough", **shared, **thorough)
    hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


# Here and not in a hook: the folders' own conftests, loaded next, import models.
prepare_environment()
prepare_django()
prepare_static_files()
prepare_hypothesis()

from django.db import connection  # noqa: E402 - needs the settings

from tests import database  # noqa: E402 - the same
from tests.cast import alice, bob, charlie, unfunded  # noqa: E402 - the same
from tests.object_store import aws_credentials, object_store  # noqa: E402 - the same
from tests.payment import one_try, stripe_here, subscriber  # noqa: E402 - the same
from tests.platform import platform, start_platform  # noqa: E402 - the same
from tests.stripe_sandbox import sandbox, sandbox_server  # noqa: E402 - the same

__all__ = [
    "alice",
    "aws_credentials",
    "bob",
    "charlie",
    "object_store",
    "one_try",
    "platform",
    "sandbox",
    "sandbox_server",
    "start_platform",
    "stripe_here",
    "subscriber",
    "unfunded",
]

if connection.vendor == "sqlite":
    django_db_setup = database.django_db_setup
    __all__ += ["django_db_setup"]
database.empty_quickly()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--postgres", action="store_true", help="run on a PostgreSQL of this run's own"
    )
    parser.addoption(
        "--full",
        action="store_true",
        help="attack at full size and length, for half an hour and more",
    )
    parser.addoption(
        "--record", action="store_true", help="record the answers of tests/recorded anew"
    )


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    """Whether attacks run at full size (`make test-attacks FULL=1`) or in a form short enough for CI."""
    return bool(request.config.getoption("--full"))


@pytest.fixture(scope="session", autouse=True)
def _short_pauses() -> Iterator[None]:
    """A worker of a test tries a storage that refuses again at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("inference.uploads.PAUSES_SECONDS", (0.01, 0.01))
        yield


def pytest_collection_finish() -> None:
    """What is loaded by now stays: the garbage collector need not look through it again and again."""
    gc.collect()
    gc.freeze()
    # Hypothesis times each collection, and a test makes objects enough for dozens.
    gc.set_threshold(50_000, 10, 10)


# See tests/attacks/conftest.py; the two platforms have about as much to do.
ATTACKS_ON_THE_SLOW_PLATFORM = {
    f"tests/attacks/test_{name}.py"
    for name in ("accounts", "deadlines", "slow_upload", "stand_ins")
}


@pytest.hookimpl(optionalhook=True)  # without xdist there is no such hook
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """In a parallel run a file stays in one process, and all that draws with torch in the same one.

    Two torch jobs on two cores take several times as long as one after the other. What has the most
    tests begins first; the invariants are one long test, so they begin with a file of many.
    Attacks stay with the platform that they share.
    """
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    class Scheduler(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            if file in ATTACKS_ON_THE_SLOW_PLATFORM:
                return "tests/attacks/conftest.py::slow_platform"
            if file.startswith("tools/miniature/"):
                return "tests/inference/"
            if file == "tests/images/jobs/test_invariants.py":
                return "tests/images/api/test_api_errors.py"
            together = ("tests/inference/", "tests/attacks/")
            return next((folder for folder in together if file.startswith(folder)), file)

    return Scheduler(config, log)


@pytest.fixture(autouse=True)
def _empty_redis() -> None:
    """No worker, message, limit or answer about health of one test reaches the next."""
    from accounts.limits import circuits
    from ecohash.web import health
    from images.queue import estimates, signals

    signals.client().flushall()
    estimates.clear_forecasts()
    health.forget()
    circuits.redis_circuit.worked()
