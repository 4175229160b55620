"""The thread in which time passes; `controls.due` says what happens then."""

import logging
import threading
import time

from tools.stripe_sandbox.controls import due
from tools.stripe_sandbox.state.store import store

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.25


def start() -> None:
    """Start the thread; each process calls this once."""
    threading.Thread(target=_run, name="periodic", daemon=True).start()


def _run() -> None:
    while True:
        time.sleep(LOOK_SECONDS)
        try:
            with store().transaction() as db:
                due.run_due(db)
        except Exception:
            logger.exception("a periodic step failed")
