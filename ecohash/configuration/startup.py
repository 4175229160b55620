"""The system checks that gunicorn, each Celery worker, beat and `manage.py up` run before they serve.

Django runs system checks for commands alone, and Celery runs them without reading what they say.
"""

import logging
import sys

from django.conf import settings
from django.core.checks import ERROR, WARNING, CheckMessage, Error, run_checks

from ecohash.configuration import development
from ecohash.configuration.environment import EXIT_MISCONFIGURED

logger = logging.getLogger(__name__)


def check(*, writes: bool = False) -> None:
    """Log each warning. End the process, with a line for each error, where there is one.

    `writes` is for a process that keeps something in VAR_DIR even where everything is real.
    """
    found = [message for message in run_checks() if not message.is_silenced()]
    if writes and "ecohash.E001" not in {message.id for message in found}:
        try:
            development.make_private_folder(settings.VAR_DIR)
        except OSError as error:
            found.append(Error(development.var_dir_problem(error), id="ecohash.E001"))
    errors = [message for message in found if message.level >= ERROR]
    if errors:
        lines = ["EcoHash will not start with these settings:", *map(line, errors)]
        print("\n".join(lines), file=sys.stderr, flush=True)  # noqa: T201 - for whoever starts it
        raise SystemExit(EXIT_MISCONFIGURED)
    for message in found:
        if message.level >= WARNING:
            logger.warning("%s", line(message))


def line(message: CheckMessage) -> str:
    """The problem, the remedy and the check's id in one line."""
    text = " ".join(filter(None, (message.msg, message.hint)))
    return f"{' '.join(text.split())} ({message.id})"
