"""A mail server that takes connections and says nothing: people and images do not notice, and the mail comes later."""

import re
import time
from collections.abc import Callable, Iterator

import pytest

from tests.flows.test_paid_invoice import Browser
from tests.platform import Platform
from tests.smtp_server import SmtpServer, smtp_server

pytestmark = pytest.mark.flows

LATE_SECONDS = 6
# When sweep and reap ran last, in seconds.
SINCE = "from images.queue import signals as s; print(max(s.seconds_since_periodic_tasks()[n] for n in ('images.sweep', 'images.reap')))"
TRIES = "from billing.models import OutgoingMail as M; print(sum(M.objects.values_list('tries', flat=True)))"


@pytest.fixture(scope="module")
def mail_server() -> Iterator[SmtpServer]:
    with smtp_server(silent=True) as server:
        yield server


@pytest.fixture(scope="module")
def stalled(start_platform: Callable[..., Platform], mail_server: SmtpServer) -> Platform:
    return start_platform(
        INFERENCE_ENGINE="blank", EMAIL_URL=f"smtp://127.0.0.1:{mail_server.port}"
    )


def figure(platform: Platform, code: str) -> float:
    return float(platform.manage("shell", "--command", code).stdout.split()[-1])


def test_a_silent_mail_server_is_noticed_by_nobody_and_the_mail_comes_later(
    stalled: Platform, mail_server: SmtpServer
) -> None:
    browser = Browser(stalled.base_url)
    started = time.monotonic()
    browser.open("/signup")
    browser.submit("/signup", email="dora@example.com", password1="a lighthouse in the fog")
    assert time.monotonic() - started < LATE_SECONDS
    assert "Check your mail" in browser.page
    stalled.wait_for(lambda: mail_server.connections, "asked the mail server")
    # While the worker waits for an answer.
    assert figure(stalled, SINCE) < LATE_SECONDS
    assert stalled.status("/readyz") == 200
    stalled.wait_for(lambda: figure(stalled, TRIES) >= 1, "given up for now")
    assert figure(stalled, SINCE) < LATE_SECONDS
    mail_server.silent = False
    stalled.wait_for(lambda: mail_server.bodies, "sent later", seconds=70)
    link = re.search(
        rf"{stalled.base_url}/verify-email/\S+", mail_server.bodies[0].replace("=\r\n", "")
    )
    assert link
    assert stalled.manage("reconcile").returncode == 0
