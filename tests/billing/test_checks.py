"""A wrong or missing Stripe setting is said at start, by an id and with its remedy."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from billing import checks
from billing.checks import stripe_settings
from tests import servers

GOOD = {
    "STRIPE_SANDBOX": False,
    "STRIPE_SECRET_KEY": "sk_test_abc",
    "STRIPE_WEBHOOK_SECRET": "whsec_abc",
    "STRIPE_THIN_WEBHOOK_SECRET": "whsec_abc",
    "STRIPE_API_BASE": "",
    "PRODUCTION": False,
}


@pytest.mark.parametrize(
    ("changes", "ids"),
    [
        ({}, []),
        ({"STRIPE_SECRET_KEY": "rk_test_abc"}, []),
        ({"STRIPE_SECRET_KEY": "sk_live_abc", "PRODUCTION": True}, []),
        ({"STRIPE_API_BASE": "http://127.0.0.1:12111"}, []),
        ({"STRIPE_SANDBOX": True, "STRIPE_SECRET_KEY": "anything"}, []),
        ({"STRIPE_SECRET_KEY": "", "STRIPE_API_BASE": "http://127.0.0.1:1"}, ["billing.E001"]),
        ({"STRIPE_SECRET_KEY": ""}, ["billing.W001"]),
        ({"STRIPE_SECRET_KEY": "pk_test_abc"}, ["billing.E002"]),
        ({"PRODUCTION": True}, ["billing.W002"]),
        ({"STRIPE_SECRET_KEY": "sk_live_abc"}, ["billing.W003"]),
        ({"STRIPE_WEBHOOK_SECRET": ""}, ["billing.E003"]),
        ({"STRIPE_WEBHOOK_SECRET": "we_abc"}, ["billing.E004"]),
        ({"STRIPE_THIN_WEBHOOK_SECRET": "sk_abc"}, ["billing.E004"]),
        ({"STRIPE_API_BASE": "api.stripe.com"}, ["billing.E005"]),
        ({"STRIPE_API_BASE": "https://api.stripe.com/v1"}, ["billing.E005"]),
        (
            {
                "STRIPE_API_BASE": "http://10.0.0.1",
                "PRODUCTION": True,
                "STRIPE_SECRET_KEY": "sk_live_a",
            },
            ["billing.E006"],
        ),
    ],
)
def test_each_mistake_has_an_id_and_a_remedy(
    changes: dict[str, Any], ids: list[str], settings: Any
) -> None:
    for name, value in (GOOD | changes).items():
        setattr(settings, name, value)
    found = stripe_settings()
    assert [message.id for message in found] == ids
    for message in found:
        assert message.hint
        assert "abc" not in f"{message.msg}{message.hint}"


def test_the_settings_of_a_fresh_machine_are_right() -> None:
    call_command("check", fail_level="WARNING")


def test_the_web_server_does_not_start_with_a_wrong_setting(tmp_path: Path) -> None:
    environment = os.environ | {
        "VAR_DIR": str(tmp_path),
        "PORT": str(servers.free_port()),
        "WEB_CONCURRENCY": "1",
        "STRIPE_SECRET_KEY": "pk_test_abc",
        "STRIPE_WEBHOOK_SECRET": "whsec_abc",
    }
    words = ["-m", "gunicorn", "-c", "python:ecohash.gunicorn_conf", "ecohash.wsgi"]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=servers.ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 78
    assert "billing.E002" in done.stderr
    assert "A secret key begins with sk_" in done.stderr
    assert "Traceback" not in done.stderr
    assert "pk_test_abc" not in done.stderr


def test_the_sandbox_is_refused_in_production(settings: Any) -> None:
    settings.PRODUCTION = True
    with pytest.raises(CommandError, match="production"):
        call_command("stripe_sandbox")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, None),
        ({"unpaid_most_micros": 49_999_999}, "billing.E007"),
        ({"unpaid_micros": 999_999, "unpaid_most_micros": 10**9}, "billing.E008"),
        ({"interim_percent": 1, "unpaid_micros": 49_999_999}, "billing.E008"),
        ({"cap_micros": 50_000_500}, "billing.E009"),
    ],
)
def test_ceilings_that_make_no_sense_are_named(
    settings: Any, change: dict[str, int], code: str | None
) -> None:
    settings.SPENDING = replace(settings.SPENDING, **change)
    assert [found.id for found in checks.spending()] == ([code] if code else [])
