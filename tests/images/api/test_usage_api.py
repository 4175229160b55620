"""What was used, from the ledger: by hour or day, by key and size, as JSON and as CSV."""

import csv
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import ApiKey
from billing.models import LedgerEntry, UsageHour
from images.jobs import leases
from tests import used
from tests.calls import call, verdict
from tests.cast import Person
from tests.images import make
from tests.pages.paying import subscribed, without_credit
from tests.pages.runs import played

PRICE = make.PRICE
MARCH = {"start": "2026-03-01", "end": "2026-04-01"}


def usage(person: Person, path: str = "/v1/usage", **query: Any) -> Any:
    words = "&".join(f"{name}={value}" for name, value in query.items())
    return call("GET", f"{path}?{words}", headers=person.headers)


def charged(person: Person, at: str, **fields: Any) -> None:
    """An image of that person's that was charged at that moment."""
    job = make.queued(person, **fields)
    assert make.claimed().pk == job.pk
    deliver(job, at)


def deliver(job: Any, at: str) -> None:
    job = make.now(job)
    assert leases.deliver(job, make.stored(job))
    move(LedgerEntry.objects.get(hold=job.hold), at)


def move(entry: LedgerEntry, at: str) -> None:
    """Past our own code and past PostgreSQL's trigger, which refuse to change the ledger."""
    trigger = "ALTER TABLE billing_ledgerentry {} TRIGGER USER"
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute(trigger.format("DISABLE"))
        cursor.execute(
            "UPDATE billing_ledgerentry SET created_at = %s WHERE id = %s",
            [connection.ops.adapt_datetimefield_value(moment), entry.pk],
        )
        if connection.vendor == "postgresql":
            cursor.execute(trigger.format("ENABLE"))
    used.recount()


def test_by_day_with_what_is_empty_left_out(alice: Person) -> None:
    for at in ("2026-03-02T00:00", "2026-03-02T23:59:59", "2026-03-05T12:00"):
        charged(alice, at)
    assert usage(alice, **MARCH).json() == {
        "object": "usage",
        "start": "2026-03-01T00:00:00+00:00",
        "end": "2026-04-01T00:00:00+00:00",
        "bucket": "day",
        "group_by": [],
        "data": [
            {
                "start": f"2026-03-0{day}T00:00:00+00:00",
                "end": f"2026-03-0{day + 1}T00:00:00+00:00",
                "images": images,
                "cost_micros": images * PRICE,
            }
            for day, images in ((2, 2), (5, 1))
        ],
        "total": {"images": 3, "cost_micros": 3 * PRICE},
    }


def test_the_start_is_included_and_the_end_is_not(alice: Person) -> None:
    for at in ("2026-02-28T23:59:59.999", "2026-03-01T00:00", "2026-04-01T00:00"):
        charged(alice, at)
    answer = usage(alice, **MARCH).json()
    assert [row["start"][:10] for row in answer["data"]] == ["2026-03-01"]


def test_by_hour(alice: Person) -> None:
    for at in ("2026-03-02T09:59", "2026-03-02T10:00", "2026-03-02T10:30"):
        charged(alice, at)
    answer = usage(alice, bucket="hour", **MARCH).json()
    assert [(row["start"][11:16], row["end"][11:16], row["images"]) for row in answer["data"]] == [
        ("09:00", "10:00", 1),
        ("10:00", "11:00", 2),
    ]


def test_buckets_at_the_ends_are_as_short_as_the_span(alice: Person) -> None:
    charged(alice, "2026-03-02T10:30")
    answer = usage(alice, start="2026-03-02T10:15:00Z", end="2026-03-02T11:15:00Z").json()
    [row] = answer["data"]
    assert (row["start"], row["end"]) == (answer["start"], answer["end"])


def test_by_key_and_size(alice: Person, bob: Person) -> None:
    ApiKey.objects.filter(pk=bob.key.pk).update(name="Server")
    for person, size in ((alice, "512x512"), (alice, "512x512"), (bob, "1024x768")):
        charged(person, "2026-03-02T10:00", size=size)
    job = played(alice)
    make.claimed()
    deliver(job, "2026-03-02T11:00")
    answer = usage(alice, group_by="size,key", **MARCH).json()
    assert answer["group_by"] == ["size", "key"]
    rows = {(row["key"] and row["key"]["name"], row["size"]): row for row in answer["data"]}
    assert {parts: row["images"] for parts, row in rows.items()} == {
        ("Laptop", "512x512"): 2,
        ("Server", "1024x768"): 1,
        (None, "512x512"): 1,
    }
    assert rows["Server", "1024x768"]["cost_micros"] == 18_000
    assert rows["Laptop", "512x512"]["key"] == {"name": "Laptop", "hint": alice.key.hint}
    assert answer["total"] == {"images": 4, "cost_micros": 3 * PRICE + 18_000}


def test_keys_of_one_name_are_told_apart(alice: Person, bob: Person) -> None:
    for person in (alice, bob):
        charged(person, "2026-03-02T10:00")
    answer = usage(alice, group_by="key", **MARCH).json()
    hints = {row["key"]["hint"] for row in answer["data"]}
    assert hints == {alice.key.hint, bob.key.hint}
    assert "size" not in answer["data"][0]


def test_by_payer_alone_and_with_key_and_size(alice: Person) -> None:
    charged(alice, "2026-03-02T10:00")
    subscribed(alice)
    without_credit(alice)
    for size in ("512x512", "1024x768"):
        charged(alice, "2026-03-02T10:00", size=size)
    answer = usage(alice, group_by="payer", **MARCH).json()
    found = [(row["payer"], row["images"], row["cost_micros"]) for row in answer["data"]]
    assert found == [("credit", 1, PRICE), ("subscription", 2, PRICE + 18_000)]
    answer = usage(alice, group_by="size,payer,key", **MARCH).json()
    assert answer["group_by"] == ["size", "payer", "key"]
    assert [(row["size"], row["payer"]) for row in answer["data"]] == [
        ("1024x768", "subscription"),
        ("512x512", "credit"),
        ("512x512", "subscription"),
    ]
    assert {row["key"]["name"] for row in answer["data"]} == {"Laptop"}


def test_a_wrong_group_names_those_that_there_are(alice: Person) -> None:
    text = usage(alice, group_by="payer,color").json()["error"]["message"]
    assert "key, size, payer" in text


def test_a_deleted_key_has_a_name_and_no_hint(alice: Person) -> None:
    charged(alice, "2026-03-02T10:00")
    UsageHour.objects.update(key=2**40)
    [row] = usage(alice, group_by="key", **MARCH).json()["data"]
    assert row["key"] == {"name": "Deleted key", "hint": ""}


def test_without_a_span_it_is_the_last_seven_days_up_to_now(alice: Person) -> None:
    now = datetime.now(UTC)
    make.succeeded(alice)
    charged(alice, (now - timedelta(days=8)).replace(tzinfo=None).isoformat())
    answer = usage(alice).json()
    start, end = (datetime.fromisoformat(answer[name]) for name in ("start", "end"))
    assert end - start == timedelta(days=7)
    assert now < end < now + timedelta(seconds=30)
    assert answer["total"]["images"] == 1


@pytest.mark.parametrize(
    "start",
    [
        "2026-03-02",
        "2026-03-02T00:00Z",
        "2026-03-02T01:00:00%2B01:00",
        "2026-03-02T01:00:00+01:00",
        "2026-03-01T22:00:00.000-02:00",
        "1772409600",
    ],
)
def test_a_moment_can_be_written_in_many_ways(alice: Person, start: str) -> None:
    answer = usage(alice, start=start, end="2026-03-05").json()
    assert answer["start"] == "2026-03-02T00:00:00+00:00"


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("start=yesterday", "start"),
        ("start=", "start"),
        ("start=2026-02-30", "start"),
        ("start=20261122", "start"),
        ("start=1999-12-31", "start"),
        ("start=2026-03-02T00:00:00", "start"),
        ("start=0001-01-01T00:00:00%2B23:59", "start"),
        ("start=%D9%A1772409600", "start"),
        ("start=999999999999", "start"),
        ("end=9999-12-31", "end"),
        ("end=-5", "end"),
        ("start=2026-03-02&end=2026-03-02", "end"),
        ("start=2999-01-01", "start"),
        ("start=2026-01-01&end=2027-01-03", "start"),
        ("start=2026-01-01&end=2026-02-02&bucket=hour", "start"),
        ("bucket=week", "bucket"),
        ("bucket=", "bucket"),
        ("group_by=color", "group_by"),
        ("group_by=", "group_by"),
        ("group_by=key,key", "group_by"),
        ("group_by=key&group_by=size", "group_by"),
        ("limit=5", "limit"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/usage", "/v1/usage.csv"])
def test_what_is_wrong_is_named(alice: Person, path: str, query: str, param: str) -> None:
    response = call("GET", f"{path}?{query}", headers=alice.headers)
    assert verdict(response) == (400, "invalid_request_error", "invalid_value", param)


def test_the_longest_spans_are_allowed(alice: Person) -> None:
    assert usage(alice, start="2024-01-01", end="2025-01-01").status_code == 200
    assert usage(alice, start="2026-03-01", end="2026-04-01", bucket="hour").status_code == 200


def test_nothing_of_another_organization_is_counted(alice: Person, charlie: Person) -> None:
    charged(alice, "2026-03-02T10:00")
    for path in ("/v1/usage", "/v1/usage.csv"):
        response = usage(charlie, path, group_by="key,size", **MARCH)
        assert alice.key.hint not in response.content.decode()
    assert usage(charlie, **MARCH).json()["total"] == {"images": 0, "cost_micros": 0}


def test_a_key_without_the_scope_is_refused(alice: Person) -> None:
    ApiKey.objects.filter(pk=alice.key.pk).update(may_read_usage=False)
    for path in ("/v1/usage", "/v1/usage.csv"):
        assert usage(alice, path).status_code == 403


def test_a_key_that_may_only_read_usage_reads_it(alice: Person) -> None:
    ApiKey.objects.filter(pk=alice.key.pk).update(may_generate=False)
    assert usage(alice).status_code == 200


def test_no_key_and_other_methods_are_refused(alice: Person) -> None:
    assert call("GET", "/v1/usage").status_code == 401
    refused = call("POST", "/v1/usage", headers=alice.headers)
    assert (refused.status_code, refused["Allow"]) == (405, "GET")


def test_it_is_one_query_however_much_there_is(alice: Person) -> None:
    for day in range(1, 5):
        charged(alice, f"2026-03-0{day}T10:00")
    with CaptureQueriesContext(connection) as queries:
        assert len(usage(alice, group_by="key,size", **MARCH).json()["data"]) == 4
    [about_usage] = [query for query in queries if "billing_" in query["sql"]]
    assert "billing_ledgerentry" not in about_usage["sql"]


def table(response: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(response.content.decode())))


def test_the_same_as_csv(alice: Person) -> None:
    charged(alice, "2026-03-02T10:00")
    response = usage(alice, "/v1/usage.csv", group_by="key,size", **MARCH)
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"] == (
        'attachment; filename="usage-2026-03-01-to-2026-04-01.csv"'
    )
    assert table(response) == [
        {
            "start": "2026-03-02T00:00:00+00:00",
            "end": "2026-03-03T00:00:00+00:00",
            "key": "Laptop",
            "key_hint": alice.key.hint,
            "size": "512x512",
            "images": "1",
            "cost_micros": "10000",
            "cost_usd": "0.010000",
        }
    ]


def test_the_table_has_a_column_for_the_payer_when_asked_for(alice: Person) -> None:
    charged(alice, "2026-03-02T10:00")
    response = usage(alice, "/v1/usage.csv", group_by="payer", **MARCH)
    header = response.content.decode().splitlines()[0]
    assert header == "start,end,key,key_hint,size,payer,images,cost_micros,cost_usd"
    [row] = table(response)
    assert (row["key"], row["size"], row["payer"]) == ("", "", "credit")


def test_the_playground_has_a_name_in_the_csv_only_when_asked_by_key(alice: Person) -> None:
    job = played(alice)
    make.claimed()
    deliver(job, "2026-03-02T11:00")
    names = [
        table(usage(alice, "/v1/usage.csv", **query, **MARCH))[0]["key"]
        for query in ({"group_by": "key"}, {"group_by": "size"}, {})
    ]
    assert names == ["Playground", "", ""]


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_becomes_a_formula(alice: Person, first: str) -> None:
    name = f"{first}HYPERLINK(1)"
    ApiKey.objects.filter(pk=alice.key.pk).update(name=name)
    charged(alice, "2026-03-02T10:00")
    response = usage(alice, "/v1/usage.csv", group_by="key", **MARCH)
    assert f"'{name}" in response.content.decode()
    assert usage(alice, group_by="key", **MARCH).json()["data"][0]["key"]["name"] == name


def test_both_spellings_are_served(alice: Person) -> None:
    for path in ("/v1/usage/", "/v1/usage.csv/"):
        assert usage(alice, path).status_code == 200
    assert usage(alice, "/v1/usages").status_code == 404
