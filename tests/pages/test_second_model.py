"""A second model needs one entry in the catalog and its prices, nothing else."""

from io import StringIO

import pytest
from django.core.management import call_command
from django.test import Client

from images.catalog import DEFAULT_MODEL, MODELS, Model
from images.jobs import generation
from images.models import Generation
from images.queue import signals
from inference.engines.blank import BlankEngine
from inference.loading import build_engine
from tests.calls import GENERATIONS, call, generate
from tests.cast import Person
from tests.html import flat
from tests.images.make import books
from tests.working import working

SECOND = Model(id="noise-2", title="Noise 2", created=1_700_000_000, steps=4, engine="blank")
FOX = {"model": SECOND.id, "prompt": "a red fox", "size": "512x512", "seed": "7"}
CHOICE = '<select name="model"'


@pytest.fixture(autouse=True)
def _two_models(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from billing.ledger import pricing

    monkeypatch.setitem(MODELS, SECOND.id, SECOND)
    monkeypatch.setitem(pricing.MODEL_TITLES, SECOND.id, SECOND.title)
    for size, dollars in {"512x512": "0.003", "1024x1024": "0.004"}.items():
        call_command("set_price", size, dollars, "--model", SECOND.id, stdout=StringIO())


@pytest.mark.django_db(transaction=True)
def test_it_answers_calls_at_its_own_price(alice: Person) -> None:
    engine = build_engine(SECOND)
    assert isinstance(engine, BlankEngine)
    with working(engine, model=SECOND):
        answer = generate(alice, model=SECOND.id, seed=1)
    assert answer.status_code == 200
    assert answer["x-ecohash-engine"] == engine.fingerprint
    assert answer["x-ecohash-cost-micros"] == "3000"
    assert books(alice) == (0, 3_000)


@pytest.mark.django_db(transaction=True)
def test_only_the_workers_of_its_queue_draw_it(alice: Person) -> None:
    before = signals.client().llen(MODELS[DEFAULT_MODEL].queue)
    with working():
        answer = call(
            "POST",
            GENERATIONS,
            FOX | {"seed": 7},
            headers=alice.headers | {"x-ecohash-deadline-seconds": "1"},
        )
    assert answer.status_code == 503
    assert Generation.objects.get().status == "expired"
    assert signals.client().llen(MODELS[DEFAULT_MODEL].queue) == before


def test_it_is_listed(alice: Person) -> None:
    listed = call("GET", "/v1/models", headers=alice.headers).json()["data"]
    assert [model["id"] for model in listed] == [DEFAULT_MODEL, SECOND.id]
    alone = call("GET", f"/v1/models/{SECOND.id}", headers=alice.headers).json()
    assert alone == listed[1]


def test_the_playground_offers_it_with_its_prices(alice_client: Client) -> None:
    shown = alice_client.get("/playground", {"model": SECOND.id, "size": "512x512"})
    page = flat(shown.content.decode())
    assert CHOICE in page
    assert f'<option value="{SECOND.id}" selected>{SECOND.title}</option>' in page
    assert "$0.003" in page and "$0.010" not in page
    assert 'value="512x512" checked' in page


def test_the_playground_draws_with_it(alice: Person, alice_client: Client) -> None:
    alice_client.post("/playground", FOX)
    job = Generation.objects.get()
    assert (job.model, job.hold.amount_micros) == (SECOND.id, 3_000)
    generation.expire(job)
    page = flat(alice_client.get(f"/playground/{job.pk}").content.decode())
    assert f'<input type="hidden" name="model" value="{SECOND.id}">' in page


def test_an_unknown_model_is_refused_next_to_the_field(alice_client: Client) -> None:
    answer = alice_client.post("/playground", FOX | {"model": "magic"})
    assert answer.status_code == 422
    assert "This model is not offered" in answer.content.decode()


def test_of_one_model_there_is_no_choice(
    alice_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(MODELS, SECOND.id)
    assert CHOICE not in alice_client.get("/playground").content.decode()
