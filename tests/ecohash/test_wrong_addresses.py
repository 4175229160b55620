"""A program at a wrong address is answered as the API answers, and told where the API is; a browser gets a page."""

import json
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from tests.calls import BODY, call, error_of, verdict
from tests.cast import Person
from tests.pages.conftest import signed_in

BASE = f"{settings.BASE_URL}/v1"
UNKNOWN = (404, "invalid_request_error", None, None)
NO_METHOD = (405, "invalid_request_error", "method_not_allowed", None)
FORM = "application/x-www-form-urlencoded"
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
NEAR_MISSES = [
    "/images/generations",
    "/images/generations/",
    "/v1/v1/images/generations",
    "/api/v1/images/generations",
    "/openai/v1/images/generations",
    "/v2/images/generations",
    "/v1beta/openai/images/generations",
    "/v1/images/generations/generations",
    "/v1//images/generations",
    "/V1/Images/Generations",
    "/v1/image/generations",
    "/v1/images/generate",
    "/v1/images",
    "/dashboard/images/generations",
    "/v1/images/generations/v1/images/generations",
    "/sdapi/v1/txt2img",
]


def post(path: str, person: Person | None, **options: Any) -> Any:
    headers = options.pop("headers", {}) | (person.headers if person else {})
    return call("POST", path, BODY, headers=headers, **options)


@pytest.mark.parametrize("path", NEAR_MISSES)
def test_a_near_miss_is_named_with_the_base_url(alice: Person, path: str) -> None:
    response = post(path, alice)
    assert verdict(response) == UNKNOWN
    message = error_of(response)["message"]
    assert f"nothing at POST {path}." in message
    assert f"set base_url to it, and call POST {BASE}/images/generations" in message
    assert response["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (
            "/openai/deployments/NAME/images/generations",
            "/openai/deployments/.../images/generations",
        ),
        ("/v1/engines/NAME/images/generations", "/v1/engines/.../images/generations"),
    ],
)
def test_a_name_in_a_near_miss_is_not_repeated(alice: Person, path: str, shown: str) -> None:
    for name in ("dall-e-3", alice.secret):
        response = post(path.replace("NAME", name), alice)
        assert verdict(response) == UNKNOWN
        assert f"POST {shown}." in error_of(response)["message"]
        assert name not in response.content.decode()


@pytest.mark.parametrize(
    ("method", "path", "meant"),
    [
        ("GET", "/models", "GET /v1/models"),
        ("GET", "/v1/v1/models", "GET /v1/models"),
        ("GET", "/openai/models", "GET /v1/models"),
        ("GET", "/v1/images/generations/models", "GET /v1/models"),
        ("GET", "/key", "GET /v1/key"),
    ],
)
def test_other_resources_have_near_misses_too(
    alice: Person, method: str, path: str, meant: str
) -> None:
    response = call(method, path, headers=alice.headers)
    assert verdict(response) == UNKNOWN
    assert meant.replace("/v1", BASE) in error_of(response)["message"]


@pytest.mark.parametrize("root", ["/v1", "", "/v1/v1", "/openai/v1", "/openai/deployments/x"])
@pytest.mark.parametrize(
    "path",
    [
        "images/edits",
        "images/variations",
        "responses",
        "chat/completions",
        "completions",
        "embeddings",
        "audio/speech",
        "batches",
        "files",
        "moderations",
        "assistants",
        "fine_tuning/jobs",
    ],
)
def test_what_is_not_offered_is_named(db: None, root: str, path: str) -> None:
    response = post(f"{root}/{path}", None)
    assert verdict(response) == UNKNOWN
    message = error_of(response)["message"]
    assert f"image generation only: /v1/{path} is not offered" in message
    assert BASE in message


def test_what_lies_below_is_not_offered_either(db: None) -> None:
    for path in ("/v1/files/file-CANARY/content", "/v1/responses/CANARY"):
        response = call("GET", path)
        assert f"{'/'.join(path.split('/')[:3])} is not offered" in error_of(response)["message"]
        assert "CANARY" not in response.content.decode()


@pytest.mark.parametrize("path", ["/v1/images/generations%20", "/v1/images/generations%0A"])
def test_white_space_in_an_address_is_told_apart_from_the_right_one(db: None, path: str) -> None:
    message = error_of(call("POST", path))["message"]
    assert (
        "nothing at exactly this address" in message or "nothing at POST /v1/images/..." in message
    )
    assert f"POST {BASE}/images/generations" in message


def test_an_id_of_another_form_is_named(db: None) -> None:
    message = error_of(call("GET", "/v1/images/generations/gen_short"))["message"]
    assert "22 letters and digits" in message


@pytest.mark.parametrize(
    "path", ["/nowhere", "/eco_CANARY", "/v1/CANARY/x", "/CANARY/v1", "/" * 4_000]
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "ECO_CANARY"])
def test_no_other_word_is_repeated(alice: Person, method: str, path: str) -> None:
    response = call(method, path, headers=alice.headers)
    assert verdict(response) == UNKNOWN
    assert "CANARY" not in response.content.decode()
    assert len(response.content) < 500


SIGNS: dict[str, dict[str, str]] = {
    "our key": {"Authorization": "Bearer eco_x"},
    "our key from a browser": BROWSER | {"Authorization": "Bearer eco_x"},
    "another key": {"Authorization": "Bearer sk-x"},
    "a key in another header": {"x-api-key": "sk-x"},
    "Azure's header": {"api-key": "0123"},
    "JSON accepted": {"Accept": "application/json"},
}


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_any_sign_of_a_program_is_enough(db: None, sign: str, method: str) -> None:
    response = call(method, "/nowhere", content_type="", headers=SIGNS[sign])
    assert verdict(response) == UNKNOWN
    assert BASE in error_of(response)["message"]


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "text/plain", "", FORM]
)
def test_whatever_is_posted_to_nowhere_without_a_browser_gets_json(
    db: None, content_type: str
) -> None:
    response = call("POST", "/nowhere", b"{}", content_type=content_type)
    assert verdict(response) == UNKNOWN


@pytest.mark.parametrize("path", ["/", "/docs", "/login", "/dashboard", "/playground", "/admin/"])
@pytest.mark.parametrize("signed", [False, True])
def test_a_program_at_the_address_of_a_page_is_told_where_the_api_is(
    alice: Person, path: str, *, signed: bool
) -> None:
    """Without a redirect to the sign-in, and without a form's token."""
    client = signed_in(alice) if signed else Client()
    client.handler.enforce_csrf_checks = True
    for method in ("post", "put", "delete"):
        response = getattr(client, method)(path, json.dumps(BODY), "application/json")
        assert verdict(response) == NO_METHOD
        assert response["Allow"] == "GET, HEAD"
        assert BASE in error_of(response)["message"]
    response = client.get(path, headers=alice.headers)
    assert verdict(response) == UNKNOWN
    assert BASE in error_of(response)["message"]


@pytest.mark.parametrize("path", ["/login", "/docs", "/signup"])
def test_a_form_that_no_browser_sent_is_refused_in_json(db: None, path: str) -> None:
    client = Client(enforce_csrf_checks=True)
    response: Any = client.post(path, "a=b", FORM, headers={"Accept": "*/*"})
    assert (response.status_code, error_of(response)["code"]) == (403, None)
    assert BASE in error_of(response)["message"]


def test_a_browsers_form_keeps_its_page(db: None) -> None:
    client = Client(enforce_csrf_checks=True)
    response = client.post("/login", "a=b", FORM, headers=BROWSER)
    assert response.status_code == 403
    assert response["Content-Type"].startswith("text/html")
    nowhere = client.post("/nowhere", "a=b", FORM, headers=BROWSER)
    assert (nowhere.status_code, nowhere["Content-Type"][:9]) == (404, "text/html")


def test_a_page_stays_a_page_behind_a_proxy_that_signs_people_in(alice: Person) -> None:
    """It adds a token of its own to each request of a browser, and of the page's scripts."""
    token = {"Authorization": "Bearer eyJhbGciOi.e30.x"}
    client = signed_in(alice)
    for headers in (BROWSER | token, {"HX-Request": "true"} | token):
        response = client.get("/dashboard", headers=headers)
        assert (response.status_code, response["Content-Type"][:9]) == (200, "text/html")
        assert "Access-Control-Allow-Origin" not in response


def test_what_a_program_may_read_without_a_key_stays(db: None) -> None:
    for path in ("/", "/docs"):
        response = call("GET", path, content_type="", headers={"Accept": "application/json"})
        assert (response.status_code, response["Content-Type"][:9]) == (200, "text/html")
    assert call("GET", "/healthz", headers={"Authorization": "Bearer eco_x"}).json() == {"ok": True}
    assert verdict(call("POST", "/healthz", BODY)) == NO_METHOD


def test_a_page_keeps_its_cookies_and_its_own_headers(alice: Person) -> None:
    response = signed_in(alice).get("/playground", headers=BROWSER)
    assert "csrftoken" in response.cookies
    assert "openai-processing-ms" not in response


def test_a_method_that_a_page_does_not_take_is_json_for_a_program(db: None) -> None:
    response = call("GET", "/webhooks/stripe", headers={"Authorization": "Bearer eco_x"})
    assert verdict(response) == NO_METHOD
    assert response["Allow"] == "POST"


@pytest.mark.parametrize("path", ["/images/generations", "/", "/playground"])
def test_a_program_in_a_browser_may_read_where_the_api_is(alice: Person, path: str) -> None:
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    names = {"Access-Control-Request-Headers": "authorization, content-type"}
    preflight = call("OPTIONS", path, content_type="", headers=asked | names)
    assert preflight.status_code == 204
    assert preflight["Access-Control-Allow-Origin"] == "*"
    assert "authorization" in preflight["Access-Control-Allow-Headers"]
    assert post(path, alice)["Access-Control-Allow-Origin"] == "*"
    plain = call("OPTIONS", path, content_type="", headers=asked)
    assert "Access-Control-Allow-Origin" not in plain
