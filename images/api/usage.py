"""GET /v1/usage and /v1/usage.csv: what the caller's organization used."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from django.http import JsonResponse, QueryDict
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from accounts.http.refusals import InvalidRequest
from billing.ledger import usage, usage_hours
from billing.pages import usage_csv
from images.api.base import ApiView, caller_key

PLAIN_NAME = re.compile(r"[a-z_]{1,30}")
PARAMETERS = ("start", "end", "bucket", "group_by")
DEFAULT_SPAN = timedelta(days=7)
LONGEST_DAYS = {"hour": 31, "day": 366}
# EcoHash is younger, and a plain date such as 20261122 is not a number of seconds.
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(3000, 1, 1, tzinfo=UTC)
SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
# An unescaped + of an offset arrives as a space.
MOMENT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?)"
    r"(Z|[-+ ][0-9]{2}:[0-9]{2})",
    re.ASCII,
)


@dataclass(frozen=True)
class UsageQuery:
    """A query that passed: `start` included, `end` not."""

    start: datetime
    end: datetime
    bucket: str
    group_by: list[str]


class Usage(ApiView):
    """Images and their cost by hour or day, split by key, size and payer on request."""

    scope = "usage.read"

    def get(self, request: Request) -> HttpResponseBase:
        query = read_query(request.query_params)
        rows = rows_of(request, query)
        return JsonResponse(
            {
                "object": "usage",
                "start": query.start.isoformat(),
                "end": query.end.isoformat(),
                "bucket": query.bucket,
                "group_by": query.group_by,
                "data": [describe(row, query.group_by) for row in rows],
                "total": {
                    "images": sum(row.images for row in rows),
                    "cost_micros": sum(row.micros for row in rows),
                },
            }
        )


class UsageTable(ApiView):
    """The same as CSV, without the total."""

    scope = "usage.read"

    def get(self, request: Request) -> HttpResponseBase:
        query = read_query(request.query_params)
        filename = f"usage-{query.start:%Y-%m-%d}-to-{query.end:%Y-%m-%d}.csv"
        return usage_csv.answer(rows_of(request, query), group_by=query.group_by, filename=filename)


def rows_of(request: Request, query: UsageQuery) -> list[usage.UsageRow]:
    """The rows of this span, split as the query says."""
    return usage.report(
        caller_key(request).organization,
        start=query.start,
        end=query.end,
        bucket=query.bucket,
        group_by=query.group_by,
    )


def describe(row: usage.UsageRow, group_by: list[str]) -> dict[str, Any]:
    """A row as the API's object; key, size and payer are there when they were asked for."""
    parts: dict[str, Any] = {}
    if row.key:
        name_and_hint = {"name": row.key.name, "hint": row.key.hint}
        parts["key"] = None if row.key == usage.PLAYGROUND else name_and_hint
    if "size" in group_by:
        parts["size"] = row.size
    if "payer" in group_by:
        parts["payer"] = row.payer
    return {
        "start": row.start.isoformat(),
        "end": row.end.isoformat(),
        **parts,
        "images": row.images,
        "cost_micros": row.micros,
    }


def read_query(query: QueryDict) -> UsageQuery:
    """The span and how it is split.

    Raises:
        InvalidRequest: a parameter is unknown, repeated or wrong.
    """
    given = {name: str(value) for name, value in query.items()}
    for name in given:
        if name not in PARAMETERS:
            # A name that could be a secret in the wrong place is not said back.
            said = name if PLAIN_NAME.fullmatch(name) else "query"
            refuse(said, f"There is no such parameter. There are: {', '.join(PARAMETERS)}.")
        if len(query.getlist(name)) > 1:
            refuse(name, f"'{name}' was given more than once.")
    bucket = given.get("bucket", "day")
    if bucket not in usage_hours.BUCKETS:
        refuse("bucket", f"'bucket' must be one of: {', '.join(usage_hours.BUCKETS)}.")
    # Whole seconds, the current one included.
    now = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
    end = read_moment("end", given["end"]) if "end" in given else now
    start = read_moment("start", given["start"]) if "start" in given else end - DEFAULT_SPAN
    if start >= end:
        refuse("end" if "end" in given else "start", "'start' must be earlier than 'end'.")
    days = LONGEST_DAYS[bucket]
    if end - start > timedelta(days=days):
        refuse("start", f"By {bucket} a report covers at most {days} days. Ask for less at a time.")
    return UsageQuery(start, end, bucket, read_groups(given.get("group_by")))


def read_moment(name: str, text: str) -> datetime:
    """`2026-11-22`, `2026-11-22T10:00:00Z`, the same with an offset, or Unix seconds; in UTC.

    Raises:
        InvalidRequest: none of these, or beyond any usage.
    """
    try:
        moment = parsed(text)
    except (ValueError, OverflowError):
        moment = None
    if moment is None or not EARLIEST <= moment < LATEST:
        refuse(
            name,
            f"'{name}' must be a date (2026-11-22), a time with Z or an offset "
            "(2026-11-22T10:00:00Z), or Unix seconds, from the year 2000 on.",
        )
    return moment


def parsed(text: str) -> datetime | None:
    """The moment, or None for what has no such form.

    Raises:
        ValueError, OverflowError: the form is right, and there is no such moment.
    """
    if SECONDS.fullmatch(text):
        return datetime.fromtimestamp(int(text), UTC)
    if DATE.fullmatch(text):
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    if found := MOMENT.fullmatch(text):
        time, offset = found.groups()
        return datetime.fromisoformat(time + offset.replace(" ", "+")).astimezone(UTC)
    return None


def read_groups(text: str | None) -> list[str]:
    """What to split by, in the given order.

    Raises:
        InvalidRequest: a name is unknown or repeated.
    """
    names = [] if text is None else text.split(",")
    if len(set(names)) < len(names) or not set(names) <= set(usage_hours.GROUPS):
        offered = ", ".join(usage_hours.GROUPS)
        refuse("group_by", f"'group_by' takes these, each once, with a comma between: {offered}.")
    return names


def refuse(param: str, text: str) -> NoReturn:
    """Answer with the contract's code for a value that is not offered."""
    raise InvalidRequest(text, code="invalid_value", param=param)
