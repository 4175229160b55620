"""Names by which the platform is called: which are served, and what the others are told."""

import os
import subprocess
import sys
from typing import Any

import pytest
from django.test import Client, override_settings

from ecohash.configuration.environment import host_of, origin_of
from tests.calls import BODY, GENERATIONS, call, verdict
from tests.cast import Person
from tests.ecohash.web.wire import ask

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8000",
        "localhost",
        "LOCALHOST:3000",
        "[::1]:8000",
        "host.docker.internal:8000",
        "host.containers.internal:8000",
        "ecohash.localhost:8000",
    ],
)
def test_names_of_a_developers_own_machine_are_served(alice: Person, host: str) -> None:
    headers = alice.headers | {"Host": host}
    assert call("GET", "/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "host", ["nas.local", "api.example.com:8000", "192.168.1.20", "[fd00::1]:80"]
)
@pytest.mark.parametrize("debug", [False, True])
def test_another_name_is_told_with_the_setting(
    alice: Person, settings: Any, host: str, *, debug: bool
) -> None:
    settings.DEBUG = debug
    answer = call("POST", GENERATIONS, BODY, headers=alice.headers | {"Host": host})
    assert verdict(answer) == (400, "invalid_request_error", None, None)
    message = answer.json()["error"]["message"]
    assert "ALLOWED_HOSTS" in message
    assert f"'{host.removesuffix(':8000').removesuffix(':80')}'" in message
    page = call("GET", "/login", headers={"Host": host})
    assert (page.status_code, b"ALLOWED_HOSTS" in page.content) == (400, True)
    assert page["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("host", ["my_api:8000", "_"])
def test_an_underscore_is_named(alice: Person, settings: Any, host: str) -> None:
    settings.ALLOWED_HOSTS = ["my_api", "_"]
    answer = call("GET", "/v1/models", headers=alice.headers | {"Host": host})
    assert "underscore" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "host", ["<script>", "a b", "a/b", "::1", "x" * 300, "", "*", "münchen.de"]
)
def test_what_is_no_name_is_not_repeated(alice: Person, host: str) -> None:
    answer = call("GET", "/v1/models", headers=alice.headers | {"Host": host})
    assert answer.status_code == 400
    assert "holds no name" in answer.json()["error"]["message"]
    assert b"<script>" not in call("GET", "/", headers={"Host": host}).content


def test_a_key_in_its_place_is_not_repeated(alice: Person) -> None:
    answer = call("GET", "/v1/models", headers={"Host": f"{alice.secret}.example.com"})
    assert alice.secret not in answer.content.decode()


@pytest.mark.parametrize("path", ["/v1/models", "/login", "/nowhere"])
def test_in_production_the_name_is_not_repeated(settings: Any, path: str) -> None:
    settings.PRODUCTION = True
    answer = call("GET", path, headers={"Host": "nas.local"})
    assert answer.status_code == 400
    text = answer.content.decode()
    assert "not served here" in text
    assert "nas.local" not in text
    assert "ALLOWED_HOSTS" not in text


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@pytest.mark.parametrize(
    "headers",
    [
        "Host: 10.42.8.201:8000",
        "Host: [fd00::1]:8000",
        "Host: [fe80::1%25eth0]",
        "Host: my_web_1:8000",
        "Host: a b",
        "Host: münchen.de",
        "Host:",
        "X: no host",
    ],
)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_health_is_told_whatever_the_host(path: str, headers: str, version: str) -> None:
    answer = ask(f"GET {path} HTTP/{version}\r\n{headers}\r\n\r\n".encode())
    assert b'"ok": true' in answer.body or b'"ready":' in answer.body
    assert answer.status in ({200} if path == "/healthz" else {200, 503})


# --- BASE_URL ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "host", "origin"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1", "http://127.0.0.1:8000"),
        ("http://[::1]:8000", "[::1]", "http://[::1]:8000"),
        ("http://[0:0:0:0:0:0:0:1]", "[::1]", "http://[::1]"),
        ("https://[2001:DB8::7]:443", "[2001:db8::7]", "https://[2001:db8::7]"),
        ("https://EcoHash.Example", "ecohash.example", "https://ecohash.example"),
        ("http://a.example:80", "a.example", "http://a.example"),
        ("https://a.example:80", "a.example", "https://a.example:80"),
    ],
)
def test_an_address_as_browsers_send_it(url: str, host: str, origin: str) -> None:
    assert (host_of(url), origin_of(url)) == (host, origin)


def test_a_base_url_of_ipv6_is_served_and_trusted() -> None:
    words = (
        "from django.conf import settings as s; from ecohash import gunicorn_conf as g;"
        "print(s.ALLOWED_HOSTS[0], s.CSRF_TRUSTED_ORIGINS, g.bind)"
    )
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "ecohash.settings",
        "BASE_URL": "http://[::1]:8000",
        "PORT": "8000",
        "WEB_CONCURRENCY": "1",
    }
    told = subprocess.run(
        [sys.executable, "-c", words], env=environment, capture_output=True, check=True, text=True
    )
    assert told.stdout.strip() == "[::1] ['http://[::1]:8000'] ['127.0.0.1:8000', '[::1]:8000']"


def test_a_form_of_a_page_at_an_ipv6_address_is_taken() -> None:
    with override_settings(CSRF_TRUSTED_ORIGINS=[origin_of("http://[::1]:8000")]):
        client = Client(enforce_csrf_checks=True, headers={"Host": "[::1]:8000"})
        token = client.get("/login").cookies["csrftoken"].value
        form = {"csrfmiddlewaretoken": token, "login": "a@example.com", "password": "x"}
        answer = client.post("/login", form, headers={"Origin": "http://[::1]:8000"})
        assert (answer.status_code, b"are not correct" in answer.content) == (200, True)
        foreign = client.post("/login", form, headers={"Origin": "http://[::2]:8000"})
        assert foreign.status_code == 403
