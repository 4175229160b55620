"""A key and a prompt that can be told from all others, and a search of every place where they could have stuck."""

import base64
import io
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings as configured
from django.contrib.sessions.models import Session
from django.db import connection

from accounts import base62
from accounts.keys import key_format
from accounts.models import ApiKey, Organization
from images.queue import signals
from tests.calls import BODY, GENERATIONS, call
from tests.cast import Person

PROMPT = "CANARYPROMPT a red fox in a coal mine"
FORM = "application/x-www-form-urlencoded"
NOWHERE = "unix:///nowhere/redis.sock"
Found = list[str]
# Each place, and what stands there.
Places = Iterable[tuple[str, str]]


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

    def everywhere(self) -> Places:
        """In small letters."""
        everything = (
            *(self.logged(), self.answered(), self.stored()),
            *(self.in_redis(), self.on_disk()),
        )
        return [(place, text.lower()) for places in everything for place, text in places]

    def find(self, *needles: str, among: Places | None = None) -> Found:
        """Where any of these texts stands, in any case."""
        small = [needle.lower() for needle in needles]
        places = self.everywhere() if among is None else among
        return sorted({place for place, text in places if any(each in text for each in small)})

    def find_key(self, among: Places | None = None) -> Found:
        """Either half of what no page shows of a key: its first and last characters are its hint."""
        middle = self.secret[8:-4]
        half = len(middle) // 2
        return self.find(middle[:half], middle[half:], among=among)

    def find_prompt(self, among: Places | None = None) -> Found:
        """Outside of its column, and of the file that the database is."""
        database = Path(str(connection.settings_dict["NAME"])).name
        allowed = re.compile(rf"images_generation\.prompt|file {re.escape(database)}(-wal|-shm)?")
        return [
            place
            for place in self.find("CANARYPROMPT", among=among)
            if not allowed.fullmatch(place)
        ]
