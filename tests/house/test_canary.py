"""A key and a prompt are sent down every path that can fail, and looked for wherever they could have stuck.

The key may be found nowhere: not in the log, an answer, a table, Redis or a file. The prompt may stand
in its own column and nowhere else. All of it is done twice: with a key that works, and with one that
has the right form and that nobody knows.
"""

import base64
import io
import json
import logging
import logging.config
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings as configured
from django.contrib.sessions.models import Session
from django.db import connection
from django.utils import timezone

from accounts import base62
from accounts.keys import key_format, keys
from accounts.limits import circuits, redis_buckets
from accounts.models import ApiKey, Organization
from billing.models import Credit
from images.queue import estimates, signals
from inference.engines.blank import BlankEngine
from tests.calls import BODY, GENERATIONS, call
from tests.cast import Person
from tests.ecohash.conftest import handlers_writing_to
from tests.images import make
from tests.working import working

PROMPT = "CANARYPROMPT a red fox in a coal mine"
FORM = "application/x-www-form-urlencoded"
NOWHERE = "unix:///nowhere/redis.sock"
Found = list[str]


def canary() -> str:
    """A text with a key's form and checksum."""
    body = base62.random(key_format.RANDOM_LENGTH)
    return f"{key_format.PREFIX}{body}{key_format.checksum(body)}"


@dataclass
class Stage:
    """Where the canary flies, and everything that it could have touched."""

    person: Person
    secret: str
    is_known: bool
    settings: Any
    folder: Path
    log: io.StringIO
    answers: list[Any] = field(default_factory=list)

    def send(
        self,
        method: str = "POST",
        path: str = GENERATIONS,
        body: Any = b"",
        *,
        key: str | None = None,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> int:
        """One request with the canary as its key; returns the status."""
        authorization = {"Authorization": f"Bearer {self.secret if key is None else key}"}
        response = call(method, path, body, headers=authorization | (headers or {}), **more)
        self.answers.append(response)
        return response.status_code

    def draw(self, headers: dict[str, str] | None = None, **fields: Any) -> int:
        """A generation of the canary prompt."""
        return self.send(body=BODY | {"prompt": PROMPT} | fields, headers=headers)

    def change_key(self, **columns: Any) -> None:
        ApiKey.objects.filter(pk=self.person.key.pk).update(**columns)

    def change_organization(self, **columns: Any) -> None:
        Organization.objects.filter(pk=self.person.organization.pk).update(**columns)

    # --- where to look ----------------------------------------------------------------------------

    def logged(self) -> Iterator[tuple[str, str]]:
        for line in self.log.getvalue().splitlines():
            yield "log", line

    def answered(self) -> Iterator[tuple[str, str]]:
        for response in self.answers:
            what = f"answer {response.status_code}"
            yield what, getattr(response, "png", None) or response.content.decode("latin-1")
            yield f"headers of {what}", str(response.headers) + str(response.cookies)

    def stored(self) -> Iterator[tuple[str, str]]:
        """Every column of every table, whatever its type; sessions as what they mean, too."""
        with connection.cursor() as cursor:
            for table in connection.introspection.table_names(cursor):
                cursor.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - names of ours
                names = [column[0] for column in cursor.description]
                for row in cursor.fetchall():
                    for name, value in zip(names, row, strict=True):
                        yield f"{table}.{name}", str(value)
        for session in Session.objects.all():
            yield "django_session", str(session.get_decoded())

    def in_redis(self) -> Iterator[tuple[str, str]]:
        """Keys and values; what a message of Celery's carries is in base 64."""
        redis = signals.client()
        readers: dict[str, Callable[[str], Any]] = {
            "string": redis.get,
            "list": lambda name: redis.lrange(name, 0, -1),
            "set": redis.smembers,
            "hash": redis.hgetall,
            "zset": lambda name: redis.zrange(name, 0, -1, withscores=True),
            # Its time ran out since it was listed.
            "none": lambda _name: None,
        }
        for name in redis.scan_iter():
            yield "redis key", name
            value = str(readers[str(redis.type(name))](str(name)))
            yield f"redis {name}", value
            for packed in re.findall(r'"body": "([\w+/=]+)"', value):
                yield f"redis {name}, unpacked", base64.b64decode(packed).decode("latin-1")

    def on_disk(self) -> Iterator[tuple[str, str]]:
        for path in configured.VAR_DIR.rglob("*"):
            yield "file name", str(path)
            if path.is_file():
                yield f"file {path.name}", path.read_bytes().decode("latin-1")

    def everywhere(self) -> Iterator[tuple[str, str]]:
        yield from self.logged()
        yield from self.answered()
        yield from self.stored()
        yield from self.in_redis()
        yield from self.on_disk()

    def find(self, *needles: str) -> Found:
        """Where any of these texts stands, in any case."""
        small = [needle.lower() for needle in needles]
        return sorted(
            {
                place
                for place, text in self.everywhere()
                for lower in [text.lower()]
                if any(needle in lower for needle in small)
            }
        )

    def find_key(self) -> Found:
        """Either half of what no page shows of a key: its first and last characters are its hint."""
        middle = self.secret[8:-4]
        half = len(middle) // 2
        return self.find(middle[:half], middle[half:])

    def find_prompt(self) -> Found:
        """Outside of its column, and of the file that the database is."""
        database = Path(str(connection.settings_dict["NAME"])).name
        allowed = re.compile(rf"images_generation\.prompt|file {re.escape(database)}(-wal|-shm)?")
        return [place for place in self.find("CANARYPROMPT") if not allowed.fullmatch(place)]


@pytest.fixture(params=["a key that works", "a key that nobody knows"])
def stage(
    request: Any, transactional_db: None, alice: Person, settings: Any, tmp_path: Path
) -> Iterator[Stage]:
    """With the log as it is configured, from DEBUG on."""
    written = io.StringIO()
    handlers = handlers_writing_to(written)
    logging_settings: dict[str, Any] = configured.LOGGING
    talking = {"level": "DEBUG", "handlers": list(handlers)}
    root = logging.getLogger()
    before = root.handlers[:], root.level
    logging.config.dictConfig(logging_settings | {"handlers": handlers, "root": talking})
    is_known = request.param == "a key that works"
    secret = alice.secret if is_known else canary()
    yield Stage(alice, secret, is_known, settings, tmp_path, written)
    root.handlers[:] = before[0]
    root.setLevel(before[1])


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


def in_the_path(path: str) -> Callable[[Stage], int]:
    def send(stage: Stage) -> int:
        return stage.send("GET", path.format(stage.secret))

    return send


def in_a_report_of_leaks(stage: Stage) -> int:
    stage.settings.LEAK_REPORT_PUBLIC_KEYS = "/nowhere"
    report = [{"token": stage.secret, "type": "ecohash_key", "url": f"https://x/{stage.secret}"}]
    names = ("Github-Public-Key-Identifier", "Github-Public-Key-Signature")
    headers = dict.fromkeys(names, stage.secret)
    return stage.send("POST", "/webhooks/leaked-keys", report, headers=headers)


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
    return stage.send("POST", "/login", body.encode(), content_type=FORM)


def at_the_sign_up(stage: Stage) -> int:
    """In the field of the password: a form shows what stands in the others again, to whoever sent it."""
    body = f"email=nobody&password1={stage.secret}"
    return stage.send("POST", "/signup", body.encode(), content_type=FORM)


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
        with_a_table_that_is_gone("accounts_user", in_the_path("/password/reset/key/1-{}")),
        500,
    ),
    "in a report of leaked keys that cannot be verified": (in_a_report_of_leaks, 503),
    "with the table of jobs gone": (with_a_table_that_is_gone("images_generation"), 500),
    "with Redis away": (with_redis_away, 503),
    "at the sign-in": (at_the_sign_in, 200),
    "at the sign-up": (at_the_sign_up, 200),
    "and all goes well": (all_goes_well, 200),
}


@pytest.mark.parametrize("path", PATHS)
def test_a_key_and_a_prompt_leave_no_trace(stage: Stage, path: str) -> None:
    go, expected = PATHS[path]
    status = go(stage)
    assert status in ({expected} if stage.is_known else {expected, 401})
    assert stage.find_key() == []
    assert stage.find_prompt() == []


def test_whoever_looks_finds_what_is_there(stage: Stage) -> None:
    """Without this, the search could be looking nowhere."""
    stage.send("GET", "/v1/key")
    # Without what the log's filter would know it by.
    logging.getLogger("images").debug("key", extra={"at": stage.secret[8:].lower()})
    stage.change_organization(name=f"Org {stage.secret}")
    signals.client().hset("ecohash:test", "key", stage.secret)
    body = base64.b64encode(json.dumps([stage.secret]).encode()).decode()
    signals.client().rpush("ecohash:messages", json.dumps({"body": body}))
    file = configured.VAR_DIR / "note.txt"
    file.write_text(f"{stage.secret} {PROMPT}")
    stage.answers[0].content = stage.secret.encode()
    stage.answers[0]["x-key"] = stage.secret
    try:
        found = set(stage.find_key())
    finally:
        file.unlink()
    status = stage.answers[0].status_code
    assert found >= {
        "log",
        f"answer {status}",
        f"headers of answer {status}",
        "accounts_organization.name",
        "redis ecohash:test",
        "redis ecohash:messages, unpacked",
        "file note.txt",
    }


def test_the_prompt_is_found_in_its_column(stage: Stage) -> None:
    make.queued(stage.person, prompt=PROMPT)
    assert "images_generation.prompt" in stage.find("CANARYPROMPT")
    assert stage.find_prompt() == []


def test_every_table_is_looked_at(stage: Stage) -> None:
    with connection.cursor() as cursor:
        looked_at = set(connection.introspection.table_names(cursor))
    assert {model._meta.db_table for model in apps.get_models()} <= looked_at
