"""The gate under load: limits, caps and repeated calls, over HTTP, with several web processes.

`make test-gate` runs it on SQLite and on PostgreSQL.
"""

import json
import os
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.crowd import BODY, PATH, Answer, ask, crowd
from tests.platform import Platform

pytestmark = pytest.mark.gate

WEB_PROCESSES = 4
PRICE = 10_000
DRAW_SECONDS = 0.1


@pytest.fixture(scope="module")
def gate(start_platform: Callable[..., Platform]) -> Platform:
    """Four web processes, and two workers that take a tenth of a second for a picture."""
    return start_platform(
        WEB_CONCURRENCY=str(WEB_PROCESSES),
        GPU_WORKERS="2",
        INFERENCE_ENGINE="blank",
        BLANK_ENGINE_SECONDS=str(DRAW_SECONDS),
        DATABASE_URL=new_database(),
    )


def new_database() -> str:
    """A database of its own on the PostgreSQL of this run; empty where it runs on SQLite."""
    address = os.environ.get("DATABASE_URL", "")
    if address:
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute("CREATE DATABASE gate")
        address = urlsplit(address)._replace(path="/gate").geturl()
    return address


def account(gate: Platform, name: str, *options: str, images: int = 1_000) -> str:
    """The key of a new account with credit for so many images of 512x512."""
    words = ("--credit-micros", str(images * PRICE), "--organization", name, "--json")
    made = gate.manage("create_account", f"{name}@example.com", *words, *options)
    return json.loads(made.stdout)["api_key"]


def shell(gate: Platform, code: str) -> str:
    """What a few lines of Python print beside the platform."""
    header = (
        "from accounts.models import ApiKey, Organization\n"
        "from billing.models import Hold, LedgerEntry\n"
        "from images.models import Generation, Image\n"
        "from django.db.models import Sum\n"
    )
    return gate.manage("shell", "-v", "0", "-c", header + code).stdout.strip()


def charged(gate: Platform, name: str) -> tuple[int, int]:
    """(images, micros) that the ledger has charged to that organization."""
    rows = f'LedgerEntry.objects.filter(kind="capture", organization__name="{name}")'
    text = shell(
        gate, f'r = {rows}; print(r.count(), r.aggregate(s=Sum("amount_micros"))["s"] or 0)'
    )
    count, micros = map(int, text.split())
    return count, micros


def statuses(gate: Platform, name: str) -> Counter[str]:
    """How many jobs of that organization are in which state."""
    text = shell(
        gate,
        f'print(*Generation.objects.filter(organization__name="{name}").values_list("status", flat=True))',
    )
    return Counter(text.split())


def settled(gate: Platform, name: str) -> bool:
    """Whether no money of that organization is held any more."""
    return (
        shell(gate, f'print(Hold.objects.pending().filter(organization__name="{name}").count())')
        == "0"
    )


def assert_books_are_right(gate: Platform) -> None:
    reconciled = gate.manage("reconcile", check=False)
    assert reconciled.returncode == 0, reconciled.stdout


def kinds(answers: list[Answer]) -> Counter[Any]:
    return Counter((answer.status, answer.code) for answer in answers)


CAPS = {
    "credit": "pass",
    "organization": 'Organization.objects.filter(name="{name}").update(monthly_cap_micros=500_000)',
    "key": 'ApiKey.objects.filter(organization__name="{name}").update(monthly_cap_micros=500_000)',
}


@pytest.mark.parametrize("cap", CAPS)
def test_money_for_50_images_and_500_callers_give_exactly_50(gate: Platform, cap: str) -> None:
    name = f"cap-{cap}"
    key = account(gate, name, "--no-limits", images=50 if cap == "credit" else 1_000)
    shell(gate, CAPS[cap].format(name=name))
    answers = crowd(500, lambda _: ask(gate.port, key))
    assert kinds(answers) == {(200, None): 50, (429, "insufficient_quota"): 450}
    refused = [answer for answer in answers if answer.status == 429]
    assert {answer.headers["x-should-retry"] for answer in refused} == {"false"}
    assert not [answer for answer in refused if "retry-after" in answer.headers]
    assert charged(gate, name) == (50, 50 * PRICE)
    assert_books_are_right(gate)


def test_one_idempotency_key_gives_50_callers_one_image(gate: Platform) -> None:
    key = account(gate, "one-key")
    same = {"Idempotency-Key": "order 17"}
    answers = crowd(50, lambda _: ask(gate.port, key, headers=same, response_format="b64_json"))
    assert kinds(answers) == {(200, None): 50}
    assert len({answer.body for answer in answers}) == 1
    replayed = [answer.headers.get("idempotent-replayed") for answer in answers]
    assert replayed.count("true") == 49
    assert charged(gate, "one-key") == (1, PRICE)


def test_a_burst_above_the_rate_gives_only_200_and_429_that_may_be_obeyed(gate: Platform) -> None:
    key = account(gate, "burst")
    shell(gate, 'Organization.objects.filter(name="burst").update(images_per_minute=40)')
    started = time.monotonic()
    answers = crowd(120, lambda _: ask(gate.port, key))
    refilled = (time.monotonic() - started) * 40 / 60
    found = kinds(answers)
    assert set(found) == {(200, None), (429, "rate_limit_exceeded")}
    assert 40 <= found[200, None] <= 40 + refilled
    obey(gate, key, answers)


def test_a_burst_above_what_may_be_in_flight_gives_only_200_and_429(gate: Platform) -> None:
    key = account(gate, "flight")
    shell(gate, 'Organization.objects.filter(name="flight").update(images_in_flight=8)')
    answers = crowd(120, lambda _: ask(gate.port, key))
    found = kinds(answers)
    assert set(found) == {(200, None), (429, "rate_limit_exceeded")}
    assert found[200, None] >= 8
    obey(gate, key, answers)


def obey(gate: Platform, key: str, answers: list[Answer]) -> None:
    """Each refusal says when to come back, and one who does is served."""
    waits = {answer.headers["retry-after"] for answer in answers if answer.status == 429}
    assert all(wait.isdigit() and 1 <= int(wait) <= 60 for wait in waits)
    for answer in answers:
        assert {
            f"x-ratelimit-{part}-{kind}"
            for part in ("limit", "remaining", "reset")
            for kind in ("requests", "images")
        } <= set(answer.headers)
    time.sleep(min(map(int, waits)))
    assert ask(gate.port, key).status == 200


class Line:
    """A caller's connection, under our hand."""

    def __init__(self, gate: Platform, key: str, **body: Any) -> None:
        self.socket = socket.create_connection(("127.0.0.1", gate.port), timeout=30)
        self.body = json.dumps(BODY | body).encode()
        self.head = (
            f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(self.body)}\r\n\r\n"
        ).encode()

    def send(self, raw: bytes) -> "Line":
        self.socket.sendall(raw)
        return self

    def hang_up(self) -> None:
        """Close at once, without the courtesy of reading what is still to come."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def threads(gate: Platform) -> int:
    """Threads of all web processes."""
    count = 0
    for pid in gate.pids("web"):
        with open(f"/proc/{pid}/status") as status:  # noqa: PTH123 - not a file that is there to stay
            count += int(next(line for line in status if line.startswith("Threads:")).split()[1])
    return count


def hang_up_everywhere(gate: Platform, name: str, key: str) -> None:
    """Callers leave at each stage: head sent, half the body, queued, drawing, answer half read."""
    for _ in range(6):
        Line(gate, key).send(b"POST ").hang_up()
        half = Line(gate, key)
        half.send(half.head).send(half.body[:10]).hang_up()
    waiting = []
    for _ in range(12):
        line = Line(gate, key)
        waiting.append(line.send(line.head + line.body))
    # By then the first is drawn or being drawn; the others wait for their turn.
    time.sleep(2 * DRAW_SECONDS)
    for line in waiting:
        line.hang_up()
    for _ in range(2):
        line = Line(gate, key, response_format="b64_json")
        line.send(line.head + line.body).socket.recv(100)
        line.hang_up()
    gate.wait_for(lambda: settled(gate, name), "settled", 60)


def test_callers_who_hang_up_leave_no_money_and_no_thread_behind(gate: Platform) -> None:
    name = "hang-up"
    key = account(gate, name)
    hang_up_everywhere(gate, name, key)
    first = threads(gate)
    for _ in range(3):
        hang_up_everywhere(gate, name, key)
    # A thread that answered waits for the next call; one that was never freed would add up.
    assert threads(gate) <= first + WEB_PROCESSES
    ends = statuses(gate, name)
    assert set(ends) == {"succeeded", "canceled"}
    assert ends["canceled"] > 0
    assert charged(gate, name) == (ends["succeeded"], ends["succeeded"] * PRICE)
    assert ask(gate.port, key).status == 200
    assert_books_are_right(gate)
