"""The process: what it keeps through a kill, what it does by itself, where it refuses to run."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from pytest_django import Settings

from tests import servers
from tests.stripe_sandbox import StripeSandbox
from tools.stripe_sandbox.tests.catalog.test_usage import summary
from tools.stripe_sandbox.tests.conftest import Shop


def test_it_survives_a_kill_and_finalizes_drafts_in_time(tmp_path: Path) -> None:
    server = StripeSandbox(
        tmp_path, STRIPE_SANDBOX_DRAFT_SECONDS="0.5", STRIPE_SANDBOX_SUMMARY_LAG_SECONDS="60"
    )
    server.start()
    try:
        api: Any = server.client().v1
        shop = Shop(server, api, customer=api.customers.create({}))
        shop.sell()
        subscription = shop.subscribe()
        shop.use(100)
        server.kill()
        server.start()
        assert server.usage()["events"] == 1
        assert summary(shop)[0].aggregated_value == 0  # younger than the lag
        key = server.end_period(subscription.id)["id"]
        deadline = time.monotonic() + 10
        while api.invoices.retrieve(key).status != "paid":
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        server.stop()


def test_it_refuses_to_run_in_production(tmp_path: Path) -> None:
    environment = os.environ | {"ECOHASH_ENV": "production", "VAR_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", "import tools.stripe_sandbox.settings"],
        cwd=servers.ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode and "does not run in production" in done.stderr


def test_the_command_refuses_in_production_too(settings: Settings) -> None:
    settings.PRODUCTION = True
    with pytest.raises(CommandError, match="production"):
        call_command("stripe_sandbox")


def test_the_command_becomes_the_server_and_keeps_its_mark(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings.PRODUCTION, settings.VAR_DIR, settings.PORT = False, tmp_path / "var", 8123
    settings.STRIPE_SANDBOX_PORT = 12_111
    settings.STRIPE_SECRET_KEY, settings.STRIPE_WEBHOOK_SECRET = "sk_test_a", "whsec_a"
    mark = f"ecohash={tmp_path}:stripe"
    started: list[Any] = []
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, "-X", mark, "manage.py", "x"])
    monkeypatch.setattr(os, "execve", lambda *words: started.extend(words))
    monkeypatch.setattr(os, "chdir", lambda _folder: None)
    call_command("stripe_sandbox")
    program, words, environment = started
    assert program == sys.executable
    assert words[1:5] == ["-X", mark, "-m", "gunicorn"]
    assert words[-1] == "tools.stripe_sandbox.wsgi"
    assert environment["STRIPE_SANDBOX_WEBHOOK_URL"] == "http://127.0.0.1:8123/webhooks/stripe"
    assert environment["DJANGO_SETTINGS_MODULE"] == "tools.stripe_sandbox.settings"
    assert environment["STRIPE_SECRET_KEY"] == "sk_test_a"
