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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings as configured
from django.db import connection

from images.queue import signals
from tests.cast import Person
from tests.ecohash.conftest import handlers_writing_to
from tests.house.canary import PROMPT, Stage, canary
from tests.house.canary_paths import PATHS
from tests.images import make


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


@pytest.mark.parametrize("path", PATHS)
def test_a_key_and_a_prompt_leave_no_trace(stage: Stage, path: str) -> None:
    go, expected = PATHS[path]
    status = go(stage)
    assert status in ({expected} if stage.is_known else {expected, 401})
    everything = stage.everywhere()
    assert stage.find_key(everything) == []
    assert stage.find_prompt(everything) == []


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
