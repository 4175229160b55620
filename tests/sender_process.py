"""A process that seals and sends without a pause, for tests that kill it: `python -m tests.sender_process`."""

import logging
import time

import django

django.setup()

from billing.reporting import batching, sending  # noqa: E402 - needs the settings


def main() -> None:
    """Until somebody kills it."""
    logging.disable()
    while True:
        batching.seal()
        sending.send_due(0.5)
        time.sleep(0.02)


main()
