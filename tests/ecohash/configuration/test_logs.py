"""The logs, of the web tier and of the worker: JSON, one request id, and never a key or a prompt."""

import json
import logging
import os
import subprocess
import sys
from typing import Any

import pytest

from images.jobs import generation
from inference.engines.blank import BlankEngine
from tests.calls import GENERATIONS, call, generate
from tests.cast import Person
from tests.ecohash.conftest import Log
from tests.working import working

PROMPT = "CANARY in a coal mine"


class Gossip(BlankEngine):
    """Fails, and puts the prompt into its message."""

    def draw(self, prompt: str, **_options: Any) -> Any:  # type: ignore[override]
        raise RuntimeError(f"cannot draw {prompt}")


@pytest.mark.django_db(transaction=True)
def test_one_request_id_leads_through_web_and_worker(alice: Person, log: Log) -> None:
    with working():
        response = generate(alice, prompt=PROMPT)
    mine = [line for line in log() if line["request_id"] == response["x-request-id"]]
    assert {"drawing", "delivered", "request"} <= {line["message"] for line in mine}


@pytest.mark.django_db(transaction=True)
def test_neither_key_nor_prompt_is_ever_logged(alice: Person, unfunded: Person, log: Log) -> None:
    with working():
        assert generate(alice, prompt=PROMPT).status_code == 200
        generate(alice, prompt=PROMPT * 100)
        generate(alice, prompt=f"csam {PROMPT}")
        generate(unfunded, prompt=PROMPT)
        call("POST", GENERATIONS, b'{"prompt": "CANARY', headers=alice.headers)
        call("GET", "/v1/models", headers={"Authorization": f"Bearer {alice.secret}x"})
    text = json.dumps(log())
    assert "CANARY" not in text
    for person in (alice, unfunded):
        assert person.secret not in text
        assert person.secret[8:-4] not in text


@pytest.mark.django_db(transaction=True)
def test_an_engine_that_fails_does_not_take_the_prompt_into_the_log(
    alice: Person, log: Log
) -> None:
    with working(Gossip()):
        response = generate(alice, prompt=PROMPT)
    assert response.status_code == 500
    assert any(line["message"] == "engine failed" for line in log())
    assert "CANARY" not in json.dumps(log())


def test_a_fault_of_ours_is_logged_without_what_the_client_sent(
    alice: Person, log: Log, monkeypatch
) -> None:
    def broken(**asked: Any) -> None:
        raise ValueError(f"cannot admit {asked['prompt']}")

    monkeypatch.setattr(generation, "admit", broken)
    assert generate(alice, prompt=PROMPT).status_code == 500
    assert any(line["message"] == "request failed" for line in log())
    assert alice.secret not in json.dumps(log())
    assert "CANARY" not in json.dumps(log())


# A key of the right form that no server made, in the ways in which one comes into a text.
KEY = "eco_CANARYxyzCANARYxyzCANARYxyzCANARY1"
SECRETS = [
    KEY,
    KEY.upper(),
    KEY.replace("_", "%5F"),
    "%65%63%6F%5F" + KEY[4:],
    "%2565co%255f" + KEY[4:],
    "Bearer CANARY-of-some-length",
    "Authorization: Basic Q0FOQVJZOkNBTkFSWQ==",
    "sk_live_CANARY0123",
    "rk_test_CANARY0123",
    "whsec_CANARY0123",
    "/i/abc.png?expires=1&sig=CANARY",
    "/password/reset/key/1-CANARY-0123456789",
    "/verify-email/MQ:CANARY:0123456789",
    "{'password': 'CANARY'}",
    "Cookie: sessionid=CANARY0123",
    "https://s3.example/x.png?X-Amz-Signature=CANARY&X-Amz-Credential=CANARY%2F1",
    "redis://user:CANARY@redis.example:6379/0",
    'null value in column "x"\nDETAIL:  Failing row contains (1, CANARY).',
]
LOGGERS = ["gunicorn.error", "celery.worker", "kombu", "urllib3.connectionpool", "botocore.auth"]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("logger", [*LOGGERS, "allauth", "stripe", "images"])
def test_no_logger_writes_what_opens_something(log: Log, logger: str, secret: str) -> None:
    talking = logging.getLogger(logger)
    talking.error("could not do it: %s", secret)
    talking.error("could not do it", extra={"detail": secret, "more": [{"deep": secret}]})
    talking.error(f"{secret} in the template", extra={"more": {secret: 1}})
    talking.error("too few values for %s, %s", secret)
    try:
        int(secret)
    except ValueError as error:
        talking.exception("it failed with %r", error)
    text = json.dumps(log()).lower()
    assert "canary" not in text
    assert secret.lower() not in text
    assert "valueerror" in text


@pytest.mark.parametrize(
    "said",
    [
        "POST /v1/images/generations 200",
        "Booting worker with pid: 4711",
        "Task billing.seal_usage[0f9d] succeeded in 0.2s: None",
        "reconnecting to redis+socket:///tmp/eco-up-x/redis.sock",
        "key eco_Ab12…wxyz suspended",
    ],
)
def test_what_opens_nothing_is_written_as_it_is(log: Log, said: str) -> None:
    logging.getLogger("kombu").warning(said)
    assert log()[-1]["message"] == said


def test_a_task_that_fails_is_told_without_its_arguments(log: Log) -> None:
    context = {
        "name": "billing.seal",
        "id": "1",
        "description": "raised unexpected",
        "exc": "ValueError('CANARY')",
        "traceback": "CANARY",
        "args": "('CANARY',)",
        "kwargs": "{}",
    }
    logging.getLogger("celery.app.trace").error(
        "Task %(name)s[%(id)s] %(description)s: %(exc)s\n%(traceback)s",
        context,
        extra={"data": context},
    )
    assert log()[-1]["message"] == "Task billing.seal[1] raised unexpected"
    assert "CANARY" not in json.dumps(log())


# What a service writes to its terminal and log file; the parts that have no handler of ours too.
TALK = """
import gc, logging, sys, threading, warnings
import django
django.setup()
from ecohash.configuration import logs
logs.log_uncaught_exceptions()
class Odd:
    def __del__(self): raise ValueError(KEY)
    def __str__(self): raise ValueError(KEY)
def fail(): raise ValueError(KEY)
for name in ("django", "django.server", "django.request", "django.db.backends", "py.warnings"):
    logging.getLogger(name).error("%s", KEY)
alone = logging.getLogger("alone")
alone.propagate = False
alone.error("%s", KEY)
alone.error("%s %s", KEY)
logging.getLogger("x").error("%s", Odd())
warnings.warn(f"this is old: {KEY}")
thread = threading.Thread(target=fail)
thread.start()
thread.join()
gc.collect()
sys.stderr.flush()
fail()
"""


@pytest.mark.parametrize("debug", ["0", "1"])
def test_nothing_that_python_prints_by_itself_holds_a_key(debug: str) -> None:
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "ecohash.settings", "DEBUG": debug}
    done = subprocess.run(
        [sys.executable, "-c", f"KEY = {KEY!r}\n{TALK}"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "CANARY" not in done.stderr + done.stdout
    uncaught = [line for line in done.stderr.splitlines() if "uncaught exception" in line]
    assert len(uncaught) >= 3, done.stderr
    assert "this is old" in done.stderr
