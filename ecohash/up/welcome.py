"""The text that `make up` prints once it is ready: address, sign-in, key, first call."""

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings

from accounts.keys import keys
from accounts.models import User
from ecohash.signup import Account, create_account
from images.catalog import DEFAULT_MODEL

DEMO_EMAIL = "demo@ecohash.example"
POLL_SECONDS = 0.5
PATIENCE_SECONDS = 60
RULE = "-" * 88


def missing_parts() -> list[str]:
    """Names of the parts that `/readyz` still misses; empty once it answers 200."""
    address = urlsplit(settings.BASE_URL)
    request = urllib.request.Request(
        f"http://127.0.0.1:{settings.PORT}/readyz",
        headers={"Host": address.netloc, "X-Forwarded-Proto": address.scheme},
    )
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:  # noqa: S310 - our own http address
            return [] if answer.status == 200 else ["web"]  # noqa: PLR2004
    except urllib.error.HTTPError as error:
        try:
            checks = json.load(error)["checks"]
        except (ValueError, KeyError, TypeError):
            return ["web"]
        return [name for name, well in checks.items() if not well]
    except OSError:
        return ["web"]


def wait_until_ready() -> Iterator[str]:
    """Yield a line whenever the missing parts change; ends when none is missing."""
    started = time.monotonic()
    said: list[str] = []
    warned = False
    while missing := missing_parts():
        if missing != said:
            said = missing
            yield f"waiting for: {', '.join(missing)}"
        if not warned and time.monotonic() - started > PATIENCE_SECONDS:
            warned = True
            yield f"This takes longer than usual. The logs say why: {settings.VAR_DIR / 'log'}"
        time.sleep(POLL_SECONDS)


def demo_account() -> Account | None:
    """The account to show: made when there is no user at all, and kept in VAR_DIR while it works.

    None in production, and wherever other people have signed up or the key was revoked.
    """
    if settings.PRODUCTION:
        return None
    path: Path = settings.VAR_DIR / "secrets" / "demo.json"
    if not User.objects.exists():
        account = create_account(email=DEMO_EMAIL, organization_name="Demo")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump(asdict(account), file)
        return account
    try:
        account = Account(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    user = User.objects.filter(email=account.email).first()
    # A password that was changed is not shown: it no longer works.
    if user is None or not user.check_password(account.password):
        return None
    return account if keys.find(account.api_key) else None


def curl(api_key: str) -> str:
    """One line for bash or zsh that draws a picture into fox.png, or prints the refusal."""
    body = json.dumps(
        {"model": DEFAULT_MODEL, "prompt": "a red fox in the snow", "size": "512x512"}
    )
    save = (
        "import base64, json, sys; answer = json.load(sys.stdin); "
        'sys.exit(answer["error"]["message"]) if "error" in answer else '
        'open("fox.png", "wb").write(base64.b64decode(answer["data"][0]["b64_json"])); '
        'print("saved fox.png")'
    )
    return (
        f"curl -sS {settings.BASE_URL}/v1/images/generations -H 'Authorization: Bearer {api_key}' "
        f"-H 'Content-Type: application/json' -d '{body}' | python3 -c '{save}'"
    )


def text(account: Account | None) -> str:
    """The lines to print, with a call ready to paste."""
    lines = ["", RULE, f"EcoHash is ready at {settings.BASE_URL}", ""]
    if account:
        lines += [
            f"  Sign in   {settings.BASE_URL}/login",
            f"  E-mail    {account.email}",
            f"  Password  {account.password}",
            f"  API key   {account.api_key}",
            "",
            "Draw a picture:",
            "",
            curl(account.api_key),
        ]
    else:
        lines += [f"  Sign in   {settings.BASE_URL}/login"]
    if settings.INFERENCE_ENGINE == "flux" and not settings.FLUX_MODEL:
        lines += ["", "A miniature model draws here, not FLUX.1 Schnell: set FLUX_MODEL for that."]
    if settings.STRIPE_SANDBOX:
        lines += ["", f"Payment is a sandbox, with test cards only: {settings.STRIPE_API_BASE}"]
    return "\n".join([*lines, "", f"Logs: {settings.VAR_DIR / 'log'}", RULE])
