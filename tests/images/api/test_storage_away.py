"""The storage is asked after the charge: whatever it does, the caller learns in time that the image is paid for."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from images.api import generations
from images.models import Generation
from images.pictures import links, storage
from tests.calls import BODY, GENERATIONS, call, error_of, generate, verdict
from tests.cast import Person
from tests.images.make import PRICE, books
from tests.object_store import LIMIT_SECONDS, ObjectStoreDouble, configured, use
from tests.working import working

pytestmark = pytest.mark.django_db(transaction=True)

OVERLOADED = (503, "service_unavailable_error", "server_is_overloaded", None)
RETRY = {"x-stainless-retry-count": "1"}
PATIENCE_SECONDS = 20


@pytest.fixture(autouse=True)
def _worker(object_store: ObjectStoreDouble) -> Iterator[None]:
    with working():
        yield


def retry(person: Person) -> Any:
    """The same call, as an SDK repeats it by itself."""
    return call("POST", GENERATIONS, BODY, headers=person.headers | RETRY)


@pytest.mark.parametrize("kind", ["403", "stall", "stall_half", "cut_half", "trickle", "500"])
def test_a_charged_image_that_cannot_be_read_is_told_as_charged(
    alice: Person, object_store: ObjectStoreDouble, kind: str
) -> None:
    object_store.fault("GET", kind)
    begun = time.monotonic()
    response = generate(alice)
    assert time.monotonic() - begun < PATIENCE_SECONDS
    job = Generation.objects.get()
    assert (verdict(response), books(alice)) == (OVERLOADED, (0, PRICE))
    message = error_of(response)["message"]
    assert "was generated and charged" in message
    assert f"GET /v1/images/generations/{job.id}" in message
    assert response["x-ecohash-generation-id"] == job.id
    assert response["x-ecohash-cost-micros"] == str(PRICE)
    assert response["Retry-After"]


def test_retries_of_it_get_the_same_image_for_the_same_money(
    alice: Person, object_store: ObjectStoreDouble
) -> None:
    object_store.fault("GET", "403")
    first = generate(alice)
    again = retry(alice)
    assert [verdict(each) for each in (first, again)] == [OVERLOADED] * 2
    object_store.heal()
    last = retry(alice)
    assert last.status_code == 200
    assert last["x-ecohash-generation-id"] == first["x-ecohash-generation-id"]
    assert (Generation.objects.count(), books(alice)) == (1, (0, PRICE))


def test_its_idempotency_key_leads_to_it(alice: Person, object_store: ObjectStoreDouble) -> None:
    object_store.fault("GET", "403")
    headers = alice.headers | {"Idempotency-Key": "order 17"}
    first = call("POST", GENERATIONS, BODY, headers=headers)
    assert "same Idempotency-Key" in error_of(first)["message"]
    object_store.heal()
    assert call("POST", GENERATIONS, BODY, headers=headers).status_code == 200
    assert books(alice) == (0, PRICE)


def test_a_link_needs_no_read(alice: Person, object_store: ObjectStoreDouble) -> None:
    object_store.fault("GET", "403")
    response = generate(alice, response_format="url")
    assert response.status_code == 200
    assert object_store.asked("GET") == []


def test_a_caller_with_a_deadline_waits_no_longer(
    alice: Person, object_store: ObjectStoreDouble, settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(settings, configured(endpoint=object_store.endpoint), timeout_seconds=30)
    monkeypatch.setattr(generations, "SHORTEST_READ_SECONDS", 0.1)
    object_store.fault("GET", "stall")
    begun = time.monotonic()
    headers = alice.headers | {generations.DEADLINE_HEADER: "3"}
    response = call("POST", GENERATIONS, BODY, headers=headers)
    assert time.monotonic() - begun < PATIENCE_SECONDS
    assert verdict(response) == OVERLOADED


def test_an_image_that_is_missing_is_told_as_charged_and_not_asked_for_again(
    alice: Person, object_store: ObjectStoreDouble, caplog: pytest.LogCaptureFixture
) -> None:
    generate(alice, response_format="url")
    job = Generation.objects.get()
    Generation.objects.update(response_format="b64_json", answered_at=None)
    object_store.objects.clear()
    response = call(
        "POST",
        GENERATIONS,
        BODY | {"response_format": "url"},
        headers=alice.headers | RETRY,
    )
    assert verdict(response) == (500, "server_error", None, None)
    assert response["x-should-retry"] == "false"
    assert response["x-ecohash-generation-id"] == job.id
    assert "charged, but is missing from storage" in error_of(response)["message"]
    assert "charged image missing from storage" in caplog.messages


def test_a_job_by_id_tells_all_but_the_bytes(
    alice: Person, object_store: ObjectStoreDouble
) -> None:
    generate(alice)
    job = Generation.objects.get()
    address = f"{GENERATIONS}/{job.id}"
    object_store.fault("GET", "stall")
    response = call("GET", address, headers=alice.headers)
    told = response.json()
    assert (response.status_code, told["status"], told["cost_micros"]) == (200, "succeeded", PRICE)
    assert told["data"][0]["b64_json"] is None
    assert told["data"][0]["url"] == links.url_of(job.image)
    assert "could not be read from storage" in told["error"]["message"]
    object_store.heal()
    told = call("GET", address, headers=alice.headers).json()
    assert told["data"][0]["b64_json"] and told["error"] is None


def test_a_folder_that_hangs_is_no_different(
    alice: Person, settings, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    settings.STORAGES = settings.STORAGES | {"images": _folder(tmp_path)}
    generate(alice)
    monkeypatch.setattr(type(storage.pictures()), "open", lambda *_: time.sleep(LIMIT_SECONDS + 1))
    assert verdict(retry(alice)) == OVERLOADED
    assert books(alice)[1] == Generation.objects.count() * PRICE


def _folder(path: Any) -> dict[str, Any]:
    return {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(path), "allow_overwrite": True},
    }
