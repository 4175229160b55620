"""What a caller gets who asked rightly: drawn by a worker, delivered and charged."""

import base64
import json
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
from PIL import Image as Pillow

from images.models import Generation
from inference.engines.blank import BlankDrawing, BlankEngine
from tests.calls import BODY, GENERATIONS, JSON, call, generate
from tests.cast import Person
from tests.images import make
from tests.working import working

drawn = pytest.mark.django_db(transaction=True)
EXPOSED = {
    "x-request-id",
    "openai-processing-ms",
    "retry-after",
    "x-should-retry",
    "x-ecohash-cost-micros",
    "x-ecohash-generation-id",
    "x-ecohash-engine",
    "x-ecohash-prompt-tokens",
    "x-ecohash-prompt-tokens-unknown",
}


def png_of(answer: dict[str, Any]) -> bytes:
    """The picture of an answer in base64, which is decoded as strictly as can be."""
    return base64.b64decode(answer["data"][0]["b64_json"], validate=True)


@drawn
@pytest.mark.parametrize("size", ["512x512", "1024x768", "768x1024"])
def test_a_picture_in_base64_has_exactly_the_pixels_asked_for(alice: Person, size: str) -> None:
    with working():
        response = generate(alice, size=size, seed=5)
    assert response.status_code == 200
    answer = response.json()
    assert list(answer) == [
        *("created", "data", "size", "seed", "output_format", "quality", "background", "usage")
    ]
    assert (answer["size"], answer["seed"], answer["output_format"]) == (size, 5, "png")
    assert (answer["quality"], answer["background"]) == ("auto", "opaque")
    width, height = map(int, size.split("x"))
    given, seen = map(int, response["x-ecohash-prompt-tokens"].split("/"))
    assert answer["usage"] == {
        "input_tokens": seen,
        "input_tokens_details": {"text_tokens": seen, "image_tokens": 0},
        "output_tokens": width // 16 * (height // 16),
        "output_tokens_details": {"text_tokens": 0, "image_tokens": width // 16 * (height // 16)},
        "total_tokens": seen + width // 16 * (height // 16),
    }
    assert given == seen
    assert list(answer["data"][0]) == ["b64_json", "revised_prompt"]
    assert answer["data"][0]["revised_prompt"] is None
    picture = Pillow.open(BytesIO(png_of(answer)))
    assert (picture.format, "{}x{}".format(*picture.size)) == ("PNG", size)


@drawn
def test_a_success_says_what_it_cost_and_what_drew_it(alice: Person) -> None:
    with working() as worker:
        response = generate(alice)
    job = Generation.objects.get()
    assert response["Content-Type"] == JSON
    assert response["x-ecohash-cost-micros"] == "10000"
    assert response["x-ecohash-generation-id"] == job.id
    assert response["x-ecohash-engine"] == worker.engine.fingerprint
    assert response["x-ecohash-prompt-tokens"] == "3/3"
    assert response["x-request-id"] == job.request_id
    assert make.books(alice) == (0, 10_000)


@drawn
def test_a_long_prompt_is_drawn_and_says_how_much_was_seen(alice: Person) -> None:
    with working():
        response = generate(alice, prompt="a " * 500)
    assert response["x-ecohash-prompt-tokens"] == "500/256"


class Unknowing(BlankEngine):
    """An engine that does not know as many tokens of a prompt as it is told."""

    unknown = 0

    def draw(self, *prompt: str, **rest: Any) -> BlankDrawing:
        return replace(super().draw(*prompt, **rest), prompt_tokens_unknown=self.unknown)


@drawn
def test_a_prompt_that_the_model_mostly_does_not_know_is_told_so_each_time(alice: Person) -> None:
    def told(key: str) -> str | None:
        headers = {**alice.headers, "Idempotency-Key": key}
        response = call("POST", GENERATIONS, BODY | {"prompt": "红色的狐狸"}, headers=headers)
        assert response.status_code == 200
        return response.headers.get("x-ecohash-prompt-tokens-unknown")

    engine = Unknowing()
    with working(engine):
        engine.unknown = 2
        assert told("a") == "2"
        engine.unknown = 0
        assert (told("a"), told("b")) == ("2", None)
    # The previous release wrote none.
    Generation.objects.update(prompt_tokens_unknown=None)
    assert told("a") is None


@drawn
def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(alice: Person) -> None:
    with working():
        one, two, other = [png_of(generate(alice, seed=seed).json()) for seed in (1, 1, 2)]
    assert one == two != other


@drawn
def test_without_a_seed_pictures_differ_and_name_theirs(alice: Person) -> None:
    with working():
        one, two = generate(alice).json(), generate(alice).json()
        again = generate(alice, seed=one["seed"]).json()
    assert one["seed"] != two["seed"]
    assert png_of(one) == png_of(again)


@drawn
def test_a_link_in_place_of_the_picture(alice: Person, settings) -> None:
    with working():
        answer = generate(alice, response_format="url").json()
    assert list(answer["data"][0]) == ["url", "revised_prompt"]
    url = answer["data"][0]["url"]
    assert url.startswith(f"{settings.BASE_URL}/i/")
    response = call("GET", url.removeprefix(settings.BASE_URL))
    assert response.status_code == 200
    assert Pillow.open(BytesIO(response.png)).size == (512, 512)


@drawn
def test_what_other_clients_send_along_changes_nothing(alice: Person) -> None:
    extras = {"quality": "hd", "style": None, "user": "u-1", "n": None, "size": "auto", "x": [1]}
    with working():
        answer = generate(alice, **extras).json()
    assert answer["size"] == "1024x1024"


@drawn
def test_a_chunked_body_without_a_length_is_read(alice: Person) -> None:
    """As gunicorn hands it over: no Content-Length, and a stream that ends by itself."""
    body: dict[str, Any] = {
        "wsgi.input": BytesIO(json.dumps(BODY).encode()),
        "wsgi.input_terminated": True,
    }
    with working():
        response = call("POST", GENERATIONS, headers=alice.headers, CONTENT_LENGTH="", **body)
    assert response.status_code == 200


def test_a_stream_that_never_ends_is_not_waited_for(alice: Person) -> None:
    class Endless(BytesIO):
        def read(self, *_args: Any) -> bytes:
            raise AssertionError("this read would hang")

    body: dict[str, Any] = {"wsgi.input": Endless()}
    response = call("POST", GENERATIONS, headers=alice.headers, CONTENT_LENGTH="", **body)
    assert response.status_code == 400


@drawn
def test_both_spellings_of_an_address_are_served_and_neither_redirects(alice: Person) -> None:
    with working():
        for path in (GENERATIONS, f"{GENERATIONS}/"):
            assert call("POST", path, BODY, headers=alice.headers).status_code == 200
    job = Generation.objects.first()
    assert job
    for path in ("/v1/models", "/v1/models/flux-1-schnell", f"{GENERATIONS}/{job.id}"):
        for spelling in (path, f"{path}/"):
            assert call("GET", spelling, headers=alice.headers).status_code == 200


def test_the_list_of_models(alice: Person) -> None:
    answer = call("GET", "/v1/models", headers=alice.headers).json()
    assert answer["object"] == "list"
    [model] = answer["data"]
    assert (model["id"], model["object"]) == ("flux-1-schnell", "model")
    assert isinstance(model["created"], int)
    assert isinstance(model["owned_by"], str)
    alone = call("GET", f"/v1/models/{model['id']}", headers=alice.headers)
    assert alone.json() == model


def test_a_generation_is_an_object_from_its_first_moment(alice: Person) -> None:
    job = make.queued(alice, seed=3)
    answer = call("GET", f"{GENERATIONS}/{job.id}", headers=alice.headers).json()
    assert answer == {
        "id": job.id,
        "object": "image.generation",
        "status": "queued",
        "created": int(job.created_at.timestamp()),
        "model": "flux-1-schnell",
        "size": "512x512",
        "seed": 3,
        "cost_micros": 0,
        "error": None,
        "data": [],
        "queue": {"position": 1, "estimated_wait_seconds": None},
    }


@drawn
def test_a_lost_answer_is_found_again_by_its_id_without_a_charge(
    alice: Person, bob: Person
) -> None:
    with working():
        response = generate(alice, seed=9)
    path = f"{GENERATIONS}/{response['x-ecohash-generation-id']}"
    for person in (alice, bob):
        answer = call("GET", path, headers=person.headers).json()
        assert (answer["status"], answer["cost_micros"]) == ("succeeded", 10_000)
        assert png_of(answer) == png_of(response.json())
    assert make.books(alice) == (0, 10_000)


def test_a_picture_that_has_expired_is_gone_and_the_job_remains(alice: Person) -> None:
    job = make.succeeded(alice)
    image = job.image
    image.expires_at = image.created_at
    image.save()
    answer = call("GET", f"{GENERATIONS}/{job.id}", headers=alice.headers).json()
    assert (answer["status"], answer["data"]) == ("succeeded", [])


def test_head_is_get_without_its_body(alice: Person) -> None:
    response = call("HEAD", "/v1/models", headers=alice.headers)
    assert (response.status_code, response.content) == (200, b"")
    assert call("HEAD", "/v1/models").status_code == 401


@pytest.mark.parametrize("path", [GENERATIONS, "/v1/models", "/v1/nowhere", f"/i/{'a' * 32}.png"])
def test_a_preflight_needs_no_key_and_echoes_what_may_be_sent(path: str) -> None:
    may = "authorization, content-type, idempotency-key, x-ecohash-deadline-seconds, x-stainless-os"
    response = call(
        "OPTIONS",
        path,
        headers={
            "Origin": "https://app.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": f"{may}, no name, x:y",
        },
    )
    assert response.status_code in {200, 204}
    assert response["Access-Control-Allow-Origin"] == "*"
    assert response["Access-Control-Allow-Headers"] == may
    assert "POST" in response["Access-Control-Allow-Methods"]
    assert "Access-Control-Allow-Credentials" not in response


@drawn
def test_answers_errors_and_links_may_be_read_by_any_page(alice: Person, settings) -> None:
    with working():
        answer = generate(alice, response_format="url")
    link = answer.json()["data"][0]["url"].removeprefix(settings.BASE_URL)
    for response in (
        answer,
        generate(None),
        call("GET", "/v1/x"),
        call("GET", link),
        call("GET", "/i/"),
    ):
        assert response["Access-Control-Allow-Origin"] == "*"
        assert set(response["Access-Control-Expose-Headers"].split(", ")) >= EXPOSED
        assert "Access-Control-Allow-Credentials" not in response
        assert not response.cookies


@drawn
def test_every_request_has_an_id_of_its_own(alice: Person) -> None:
    with working():
        answers = [generate(alice), generate(alice), generate(None), call("GET", "/v1/models")]
    assert len({response["x-request-id"] for response in answers}) == 4


def test_a_browsers_session_is_neither_opened_nor_needed(alice: Person, client) -> None:
    client.force_login(alice.user)
    response = client.get("/v1/models", headers=alice.headers)
    assert response.status_code == 200
    assert not response.cookies
    assert "Cookie" not in response.get("Vary", "")
