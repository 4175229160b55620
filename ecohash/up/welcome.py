"""The text that `make up` prints once it is ready: address, sign-in, key, first call."""

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings

from accounts.keys import keys
from accounts.models import User
from ecohash.configuration import instance
from ecohash.signup import Account, create_account
from ecohash.up import machine
from images.catalog import DEFAULT_MODEL

DEMO_EMAIL = "demo@ecohash.example"
POLL_SECONDS = 0.5
PATIENCE_SECONDS = 60
RULE = "-" * 88


class AnotherProgram(Exception):
    """Our port is answered, and not by this installation."""


# A proxy of the environment (http_proxy) is not for this machine's own server.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def missing_parts() -> list[str]:
    """Names of the parts that `/readyz` still misses; empty once it answers 200.

    Raises:
        AnotherProgram: the answer is not this installation's.
    """
    address = urlsplit(settings.BASE_URL)
    request = urllib.request.Request(
        f"http://127.0.0.1:{settings.PORT}/readyz",
        headers={"Host": address.netloc, "X-Forwarded-Proto": address.scheme},
    )
    try:
        with _opener.open(request, timeout=15) as answer:
            refuse_another_program(answer.headers)
            return []
    except urllib.error.HTTPError as error:
        with error:
            refuse_another_program(error.headers)
            return [name for name, well in json.load(error)["checks"].items() if not well]
    except (OSError, HTTPException):
        return ["web"]


def refuse_another_program(headers: Message) -> None:
    """Let an answer pass that this installation gave.

    Raises:
        AnotherProgram
    """
    if headers.get(instance.HEADER) != instance.instance_id():
        raise AnotherProgram


def wait_until_ready() -> Iterator[str]:
    """Yield a line whenever the missing parts change; ends when none is missing."""
    started = time.monotonic()
    said = ""
    warned = False
    while line := _what_is_missing():
        if line != said:
            said = line
            yield line
        if not warned and time.monotonic() - started > PATIENCE_SECONDS:
            warned = True
            yield f"This takes longer than usual. The logs say why: {settings.VAR_DIR / 'log'}"
        time.sleep(POLL_SECONDS)


def _what_is_missing() -> str:
    """A line that says what is missing; empty where nothing is."""
    try:
        missing = missing_parts()
    except AnotherProgram:
        return (
            f"Another program answers on port {settings.PORT}. Stop it, or press Ctrl-C and start "
            f"with another port: PORT={machine.next_free(settings.PORT, host='127.0.0.1')} make up"
        )
    return f"waiting for: {', '.join(missing)}" if missing else ""


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
