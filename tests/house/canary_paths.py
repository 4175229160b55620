"""Ways down which a key and a prompt are sent: each function returns the status that it ended with."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.conf import settings as configured
from django.db import connection
from django.utils import timezone

from accounts.keys import keys
from accounts.limits import circuits, redis_buckets
from billing.models import Credit
from images.queue import estimates, signals
from inference.engines.blank import BlankEngine
from tests.calls import BODY, GENERATIONS
from tests.house.canary import FORM, NOWHERE, PROMPT, Stage
from tests.images import make
from tests.working import working

# --- paths: each returns the status that it ended with ---------------------------------------------


def wrong_scheme(stage: Stage) -> int:
    return stage.send("GET", "/v1/models", headers={"Authorization": f"Basic {stage.secret}"})


def no_scheme(stage: Stage) -> int:
    return stage.send("GET", "/v1/models", headers={"Authorization": stage.secret})


def mistyped(stage: Stage) -> int:
    return stage.send("GET", "/v1/models", key=stage.secret + "x")


def in_the_query(stage: Stage) -> int:
    return stage.send("GET", f"/v1/models?api_key={stage.secret}", key="")


def in_an_unknown_field(stage: Stage) -> int:
    return stage.draw(model="none", negative_prompt=stage.secret, user=stage.secret)


def as_a_value(name: str) -> Callable[[Stage], int]:
    def send(stage: Stage) -> int:
        fields: dict[str, Any] = {name: stage.secret}
        return stage.draw(**fields)

    return send


def as_a_header(name: str, **fields: Any) -> Callable[[Stage], int]:
    def send(stage: Stage) -> int:
        return stage.draw(headers={name: stage.secret}, **fields)

    return send


def as_an_idempotency_key(stage: Stage) -> int:
    with working():
        return stage.draw(headers={"Idempotency-Key": stage.secret})


def in_the_path(path: str, **options: Any) -> Callable[[Stage], int]:
    def send(stage: Stage) -> int:
        return stage.send("GET", path.format(stage.secret), **options)

    return send


def in_a_report_of_leaks(stage: Stage) -> int:
    stage.settings.LEAK_REPORT_PUBLIC_KEYS = "/nowhere"
    report = [{"token": stage.secret, "type": "ecohash_key", "url": f"https://x/{stage.secret}"}]
    names = ("Github-Public-Key-Identifier", "Github-Public-Key-Signature")
    headers = dict.fromkeys(names, stage.secret)
    return stage.send("POST", "/webhooks/leaked-keys", report, headers=headers)


def as_the_name_of_a_field(stage: Stage) -> int:
    fields: dict[str, Any] = {stage.secret: 1, "steps": 4}
    with working():
        return stage.draw(**fields)


def in_quotes(stage: Stage) -> int:
    return stage.send("GET", "/v1/models", key=f"'{stage.secret}'")


def posted_to(path: str) -> Callable[[Stage], int]:
    def send(stage: Stage) -> int:
        return stage.send("POST", path.format(stage.secret), {"prompt": PROMPT})

    return send


def as_the_content_encoding(stage: Stage) -> int:
    return stage.draw(headers={"Content-Encoding": stage.secret})


def in_malformed_json(stage: Stage) -> int:
    return stage.send(body=f'{{"prompt": "{PROMPT}", "key": "{stage.secret}'.encode())


def in_bytes_that_are_no_text(stage: Stage) -> int:
    return stage.send(body=f"{stage.secret} {PROMPT}".encode() + b"\xff\xfe")


def too_large(stage: Stage) -> int:
    return stage.draw(user=f"{stage.secret} {PROMPT}" * 20_000)


def of_another_content_type(stage: Stage) -> int:
    body = f"key={stage.secret}&prompt={PROMPT}".encode()
    return stage.send(body=body, content_type=f"text/plain; boundary={stage.secret}")


def by_another_method(stage: Stage) -> int:
    return stage.send("PUT", body={"prompt": PROMPT, "key": stage.secret})


def preflight(stage: Stage) -> int:
    headers = {"Access-Control-Request-Headers": f"x-ecohash-{stage.secret}, {stage.secret}"}
    return stage.send("OPTIONS", headers=headers | {"Origin": f"https://{stage.secret}.example"})


def to_an_unknown_host(stage: Stage) -> int:
    return stage.send("GET", "/v1/models", HTTP_HOST=f"{stage.secret}.example")


def when_revoked(stage: Stage) -> int:
    stage.change_key(revoked_at=timezone.now())
    return stage.draw()


def when_expired(stage: Stage) -> int:
    stage.change_key(expires_at=timezone.now() - timedelta(days=1))
    return stage.draw()


def when_suspended(stage: Stage) -> int:
    keys.suspend(key=stage.person.key, because="test")
    return stage.draw()


def from_elsewhere(stage: Stage) -> int:
    stage.change_key(allowed_networks=["10.0.0.0/8"])
    return stage.draw()


def without_the_scope(stage: Stage) -> int:
    stage.change_key(may_generate=False)
    return stage.draw()


def above_the_rate_limit(stage: Stage) -> int:
    stage.change_organization(requests_per_minute=1)
    stage.draw(size="none", model="none")
    stage.send("GET", "/v1/models")
    return stage.draw()


def without_credit(stage: Stage) -> int:
    credit = Credit.objects.filter(organization=stage.person.organization)
    credit.update(granted_micros=0)
    return stage.draw()


def above_the_cap(stage: Stage) -> int:
    stage.change_organization(monthly_cap_micros=0)
    return stage.draw()


def with_no_place_in_flight(stage: Stage) -> int:
    make.queued(stage.person)
    stage.change_organization(images_in_flight=1)
    return stage.draw()


def with_a_forbidden_prompt(stage: Stage) -> int:
    return stage.draw(prompt=f"{PROMPT} child porn {stage.secret}")


def with_a_prompt_too_long(stage: Stage) -> int:
    return stage.draw(prompt=f"{PROMPT} {stage.secret} " * 100)


def with_no_time(stage: Stage) -> int:
    signals.heartbeat(
        signals.LiveWorker("gpu-1", BODY["model"], "drawing", "blank", seconds=1_000.0)
    )
    estimates.clear_forecasts()
    return stage.draw()


def with_an_engine_that_fails(stage: Stage) -> int:
    class Gossip(BlankEngine):
        def draw(self, prompt: str, **_options: Any) -> Any:  # type: ignore[override]
            raise RuntimeError(f"{stage.secret} cannot draw {prompt}")

    with working(Gossip()):
        return stage.draw()


def with_a_storage_that_fails(stage: Stage) -> int:
    """Its folder is a file, whose name every message of its errors holds."""
    file = stage.folder / f"{stage.secret} {PROMPT}"
    file.touch()
    options = configured.STORAGES["images"]["OPTIONS"] | {"location": str(file)}
    images = configured.STORAGES["images"] | {"OPTIONS": options}
    stage.settings.STORAGES = configured.STORAGES | {"images": images}
    with working():
        return stage.draw()


def with_a_picture_that_vanished(stage: Stage) -> int:
    with working():
        stage.draw(headers={"Idempotency-Key": "order 1"})
    for picture in (configured.VAR_DIR / "images").rglob("*.png"):
        picture.unlink()
    return stage.draw(headers={"Idempotency-Key": "order 1"})


def with_a_row_that_the_database_refuses(stage: Stage) -> int:
    """Its message tells the row, as PostgreSQL's do, or the same by a trigger."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "ALTER TABLE images_generation ADD CONSTRAINT canary CHECK (seed < 0) NOT VALID"
            )
            undo = "ALTER TABLE images_generation DROP CONSTRAINT canary"
        else:
            cursor.execute(
                "CREATE TRIGGER canary BEFORE INSERT ON images_generation "
                f"BEGIN SELECT RAISE(ABORT, 'Failing row: {PROMPT}'); END"
            )
            undo = "DROP TRIGGER canary"
        try:
            return stage.draw()
        finally:
            cursor.execute(undo)


def with_a_table_that_is_gone(
    table: str, go: Callable[[Stage], int] = Stage.draw
) -> Callable[[Stage], int]:
    def send(stage: Stage) -> int:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} RENAME TO gone")
            try:
                status = go(stage)
            finally:
                cursor.execute(f"ALTER TABLE gone RENAME TO {table}")
        # An OperationalError of SQLite's, but not of PostgreSQL's.
        return 500 if status == 503 else status

    return send


def with_redis_away(stage: Stage) -> int:
    """Limits are each process's own, and the notification is lost; no worker draws, so the deadline passes."""
    stage.settings.REDIS_URL = NOWHERE
    try:
        redis_buckets.client.cache_clear()
        signals.client.cache_clear()
        return stage.draw(headers={"x-ecohash-deadline-seconds": "1"})
    finally:
        stage.settings.REDIS_URL = REDIS_URL
        redis_buckets.client.cache_clear()
        signals.client.cache_clear()
        circuits.redis_circuit.worked()


def all_goes_well(stage: Stage) -> int:
    """A worker's own lines are in this log, too."""
    with working():
        return stage.draw(user=stage.secret, response_format="url")


def at_the_sign_in(stage: Stage) -> int:
    body = f"login=alice@example.com&password={stage.secret}"
    return stage.send("POST", "/login", body.encode(), key="", content_type=FORM)


def at_the_sign_up(stage: Stage) -> int:
    """In the field of the password: a form shows what stands in the others again, to whoever sent it."""
    body = f"email=nobody&password1={stage.secret}"
    return stage.send("POST", "/signup", body.encode(), key="", content_type=FORM)


REDIS_URL = configured.REDIS_URL
PATHS: dict[str, tuple[Callable[[Stage], int], int]] = {
    "with another scheme": (wrong_scheme, 401),
    "without a scheme": (no_scheme, 401),
    "mistyped": (mistyped, 401),
    "in the query": (in_the_query, 401),
    "in a field that is not ours": (in_an_unknown_field, 404),
    "as the model": (as_a_value("model"), 404),
    "as the size": (as_a_value("size"), 400),
    "as the seed": (as_a_value("seed"), 400),
    "as the number of images": (as_a_value("n"), 400),
    "as the format of the answer": (as_a_value("response_format"), 400),
    "as the format of the picture": (as_a_value("output_format"), 400),
    "as the deadline": (as_a_header("x-ecohash-deadline-seconds"), 400),
    "as a count of retries": (as_a_header("x-stainless-retry-count", model="none"), 404),
    "as a request id": (as_a_header("x-request-id", model="none"), 404),
    "as an address": (as_a_header("X-Forwarded-For", model="none"), 404),
    "as a referrer": (as_a_header("Referer", model="none"), 404),
    "as an Idempotency-Key": (as_an_idempotency_key, 200),
    "in the path": (in_the_path("/v1/{}"), 404),
    "as the model of a path": (in_the_path("/v1/models/{}"), 404),
    "as the id of a path": (in_the_path(GENERATIONS + "/{}"), 404),
    "as the path of a page": (in_the_path("/{}"), 404),
    "as the token of a hosted link": (in_the_path("/i/{0}.png?expires=1&sig={0}"), 404),
    "as the signature of a hosted link": (
        in_the_path(f"/i/{'a' * 32}.png?expires=9999999999&sig={{}}"),
        403,
    ),
    "as a moment of a report": (in_the_path("/v1/usage?start={}"), 400),
    "as a parameter of a report": (in_the_path("/v1/usage?{}=1"), 400),
    "as a column of a report": (in_the_path("/v1/usage.csv?group_by={}"), 400),
    "in a query with a NUL": (in_the_path("/v1/key?{}=%00"), 400),
    "in the path of a near miss": (posted_to("/openai/deployments/{}/images/generations"), 404),
    "at the address of a page": (posted_to("/verify-email/{}"), 405),
    "as the name of a field": (as_the_name_of_a_field, 200),
    "in quotes": (in_quotes, 401),
    "as the media type": (as_a_header("Content-Type"), 400),
    "as the compression": (as_the_content_encoding, 400),
    "in malformed JSON": (in_malformed_json, 400),
    "in bytes that are no text": (in_bytes_that_are_no_text, 400),
    "in a body too large": (too_large, 413),
    "in another content type": (of_another_content_type, 400),
    "by another method": (by_another_method, 405),
    "in a preflight": (preflight, 204),
    "as the host": (to_an_unknown_host, 400),
    "revoked": (when_revoked, 401),
    "expired": (when_expired, 401),
    "suspended": (when_suspended, 401),
    "from a network that is not allowed": (from_elsewhere, 403),
    "without the scope": (without_the_scope, 403),
    "above the rate limit": (above_the_rate_limit, 429),
    "without credit": (without_credit, 429),
    "above the spend limit": (above_the_cap, 429),
    "with no place in flight": (with_no_place_in_flight, 429),
    "with a forbidden prompt": (with_a_forbidden_prompt, 400),
    "with a prompt too long": (with_a_prompt_too_long, 400),
    "with a queue too long": (with_no_time, 503),
    "with an engine that fails": (with_an_engine_that_fails, 500),
    "with a storage that fails": (with_a_storage_that_fails, 500),
    "with a picture that vanished": (with_a_picture_that_vanished, 500),
    "with a row that the database refuses": (with_a_row_that_the_database_refuses, 500),
    "with the table of keys gone": (with_a_table_that_is_gone("accounts_apikey"), 500),
    "in the path, with the table of keys gone": (
        with_a_table_that_is_gone("accounts_apikey", in_the_path("/v1/models/{}")),
        500,
    ),
    "in the path of a page, with the table of users gone": (
        with_a_table_that_is_gone("accounts_user", in_the_path("/password/reset/key/1-{}", key="")),
        500,
    ),
    "in a report of leaked keys that cannot be verified": (in_a_report_of_leaks, 503),
    "with the table of jobs gone": (with_a_table_that_is_gone("images_generation"), 500),
    "with Redis away": (with_redis_away, 503),
    "at the sign-in": (at_the_sign_in, 200),
    "at the sign-up": (at_the_sign_up, 200),
    "and all goes well": (all_goes_well, 200),
}
