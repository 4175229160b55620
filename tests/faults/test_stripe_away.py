"""Stripe stalls, refuses, is slow, fails, and is back: callers do not notice, pages say so, use is sent once."""

import json
import os
import re
import signal
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.cookiejar import Cookie, CookieJar
from pathlib import Path
from typing import Any

import pytest

from tests import servers
from tests.platform import Platform
from tests.stripe_sandbox import StripeSandbox

pytestmark = pytest.mark.faults

INVOICES = "/dashboard/billing/invoices"
PORTAL = "/dashboard/billing/portal"
PAGE_SECONDS = 15
DEADLINE_SECONDS = 90
IMAGES = 3

SUBSCRIBE = """
import sys
from accounts.models import Organization
from billing.subscriptions import checkout, syncing
organization = Organization.objects.get(memberships__user__email="flows@example.com")
checkout.begin(organization=organization, email="flows@example.com")
print(syncing.get_or_create(organization).checkout_id)
"""
SYNC = """
from billing.models import Subscription
from billing.subscriptions import syncing
print(syncing.sync(Subscription.objects.get()).status)
"""
SIGN_IN = """
from django.test import Client
from accounts.models import User
client = Client()
client.force_login(User.objects.get(email="flows@example.com"), backend="allauth.account.auth_backends.AuthenticationBackend")
print(client.session.session_key)
"""
WAITS_ARE_OVER = """
from django.utils import timezone
from billing.models import UsageBatch
UsageBatch.objects.filter(state="sealed").update(not_before=timezone.now())
print(UsageBatch.objects.unsent().count())
"""


@pytest.fixture(scope="module")
def shop() -> Iterator[StripeSandbox]:
    server = StripeSandbox(servers.temporary_folder(), STRIPE_SANDBOX_DRAFT_SECONDS="3600")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def platform(start_platform: Callable[..., Platform], shop: StripeSandbox) -> Platform:
    """One whose only customer pays by card."""
    platform = start_platform(
        INFERENCE_ENGINE="blank",
        WEB_CONCURRENCY="1",
        STRIPE_API_BASE=shop.base_url,
        STRIPE_SECRET_KEY=shop.key,
        STRIPE_WEBHOOK_SECRET=shop.webhook_secret,
        STRIPE_THIN_WEBHOOK_SECRET=shop.webhook_secret,
        USAGE_SEAL_SECONDS="1",
    )
    made = platform.manage(
        *("create_account", "flows@example.com", "--no-limits", "--credit-micros", "0", "--json")
    )
    platform.__dict__["account"] = json.loads(made.stdout)
    shop.complete_checkout(run(platform, SUBSCRIBE))
    assert run(platform, SYNC) == "active"
    return platform


def run(platform: Platform, program: str) -> str:
    """The last word that the program prints, beside the platform."""
    done = platform.manage("shell", "--no-imports", "-c", program, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


class Visitor:
    """The customer's browser."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.jar = CookieJar()
        self.jar.set_cookie(
            Cookie(
                *(0, "sessionid", run(platform, SIGN_IN), None, False, "127.0.0.1", False, False),
                *("/", True, False, None, True, None, None, {}),
            )
        )
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))

    def open(self, path: str, data: dict[str, str] | None = None) -> tuple[str, float]:
        """The page that comes of it, and the seconds that it took."""
        body = urllib.parse.urlencode(data).encode() if data else None
        request = urllib.request.Request(self.platform.base_url + path, body)
        began = time.monotonic()
        with self.opener.open(request, timeout=60) as answer:
            text = answer.read().decode()
        return text, time.monotonic() - began


def generate(platform: Platform) -> int:
    """The status that the caller of one image gets within its deadline."""
    body = {"model": "flux-1-schnell", "prompt": "a red fox", "size": "512x512"}
    headers = {"Authorization": f"Bearer {platform.api_key}", "Content-Type": "application/json"}
    address = f"{platform.base_url}/v1/images/generations"
    request = urllib.request.Request(address, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=DEADLINE_SECONDS) as answer:
        answer.read()
        return int(answer.status)


def processes(shop: StripeSandbox) -> list[int]:
    master = shop.process.pid
    children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    return [master, *map(int, children)]


@contextmanager
def stalled(shop: StripeSandbox) -> Iterator[None]:
    """It accepts, and never answers."""
    stopped = processes(shop)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def refusing(shop: StripeSandbox) -> Iterator[None]:
    """Nobody listens there."""
    shop.kill()
    try:
        yield
    finally:
        shop.start()


@contextmanager
def slow(shop: StripeSandbox) -> Iterator[None]:
    shop.fault("slow", seconds=5)
    try:
        yield
    finally:
        shop.clear_faults()


@contextmanager
def failing(shop: StripeSandbox) -> Iterator[None]:
    shop.fault("500")
    try:
        yield
    finally:
        shop.clear_faults()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (stalled, "Stripe cannot be reached at the moment."),
        (refusing, "Stripe cannot be reached at the moment."),
        (slow, ""),
        (failing, "Stripe has a problem at the moment."),
    ],
)
def test_callers_do_not_notice_and_use_is_sent_once(
    platform: Platform, shop: StripeSandbox, fault: Any, words: str
) -> None:
    visitor = Visitor(platform)
    before = counted(shop)
    form, _ = visitor.open("/dashboard/billing")
    token = re.search('name="csrfmiddlewaretoken" value="([^"]+)"', form)[1]
    with fault(shop):
        assert [generate(platform) for _ in range(IMAGES)] == [200] * IMAGES
        page, seconds = visitor.open(INVOICES)
        # They are rows of ours.
        assert not (words and words in page) and seconds < PAGE_SECONDS
        page, seconds = visitor.open(PORTAL, {"csrfmiddlewaretoken": token})
        assert words in page and seconds < PAGE_SECONDS
        page, seconds = visitor.open("/dashboard/billing")
        assert "cannot be reached" not in page and seconds < PAGE_SECONDS
        assert [generate(platform) for _ in range(IMAGES)] == [200] * IMAGES
    platform.wait_for(
        lambda: counted(shop) >= before + 2 * IMAGES and nothing_waits(platform), "sent", 60
    )
    assert counted(shop) == before + 2 * IMAGES
    reconciled = platform.manage("reconcile", check=False)
    assert reconciled.returncode == 0, reconciled.stdout


def counted(shop: StripeSandbox) -> int:
    """Images that Stripe bills."""
    return sum(sum(each.values()) for each in shop.usage()["totals"].values())


def nothing_waits(platform: Platform) -> bool:
    return run(platform, WAITS_ARE_OVER) == "0"
