"""The logs, of the web tier and of the worker: JSON, one request id, and never a key or a prompt."""

import json
from typing import Any

import pytest

from images import generation
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
def test_neither_key_nor_prompt_is_ever_logged(alice: Person, pauper: Person, log: Log) -> None:
    with working():
        assert generate(alice, prompt=PROMPT).status_code == 200
        generate(alice, prompt=PROMPT * 100)
        generate(alice, prompt=f"csam {PROMPT}")
        generate(pauper, prompt=PROMPT)
        call("POST", GENERATIONS, b'{"prompt": "CANARY', headers=alice.headers)
        call("GET", "/v1/models", headers={"Authorization": f"Bearer {alice.secret}x"})
    text = json.dumps(log())
    assert "CANARY" not in text
    for person in (alice, pauper):
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
