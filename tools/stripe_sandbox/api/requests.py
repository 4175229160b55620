"""The way of an API request: key, address, parameters, faults, idempotency key, and then the work."""

import logging
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse

from tools.stripe_sandbox import settings
from tools.stripe_sandbox.api import encoding, idempotency, params, routes
from tools.stripe_sandbox.api.idempotency import Answer
from tools.stripe_sandbox.catalog import usage
from tools.stripe_sandbox.state import documents, faults
from tools.stripe_sandbox.state.call import Call
from tools.stripe_sandbox.state.counts import counts
from tools.stripe_sandbox.state.errors import Refused
from tools.stripe_sandbox.state.store import Transaction, store

logger = logging.getLogger(__name__)


class ConnectionDropped(Exception):
    """The caller is to get no answer."""


def api(request: HttpRequest) -> HttpResponse:
    """Every address below /v1 and /v2."""
    request_id = documents.new_id("req", 14)
    try:
        answer = respond(request, request_id)
    except ConnectionDropped:
        return hang_up(request)
    except Refused as refusal:
        answer = refused(refusal, request_id)
    except Exception:
        logger.exception("the sandbox broke at %s %s", request.method, request.path)
        answer = refused(faults.server_error(), request_id)
    response = JsonResponse(answer.body, status=answer.status)
    for name in ("Stripe-Version", "Idempotency-Key"):
        if value := request.headers.get(name):
            response[name] = value
    for name, value in answer.headers.items():
        response[name] = value
    return response


def respond(request: HttpRequest, request_id: str) -> Answer:
    """The answer, or an exception that stands for it."""
    check_key(request)
    method, path = str(request.method), request.path
    route, args = routes.match(method, path)
    counts.count(f"{method} {route.path}")
    if fault := faults.faults.matching(faults.EARLY, method, path):
        if fault.kind == "drop_before":
            raise ConnectionDropped
        raise faults.early_refusal(fault)
    try:
        given = decoded(request)
        checked = params.check(route.params, given)
        route.check_known(checked)
    except Refused as refusal:
        counts.refuse(f"{method} {route.path}: {refusal}")
        raise
    key = request.headers.get("Idempotency-Key", "") if method == "POST" else ""
    work = CheckedRequest(route, args, checked, path, request_id, key)
    return work.once(idempotency.fingerprint(method, path, given)) if key else work.do(None)


@dataclass(frozen=True)
class CheckedRequest:
    """A request that passed the gate."""

    route: routes.Route
    args: dict[str, str]
    checked: dict[str, Any]
    path: str
    request_id: str
    key: str

    def once(self, mark: str) -> Answer:
        """Under an idempotency key: done once, answered as often as it is asked."""
        with idempotency.keys_in_use.claim(self.key, idempotency.in_use(self.key)):
            with store().transaction() as db:
                if kept := idempotency.kept_answer(db, self.key, mark):
                    return kept
            return self.do(mark)

    def do(self, mark: str | None) -> Answer:
        """The work and, under a key, its answer remembered, in one transaction."""
        fault = faults.faults.matching(faults.AT_WORK, self.route.method, self.path)
        with self.alone():
            if fault and fault.kind == "slow":
                time.sleep(fault.seconds)
            try:
                if fault and fault.kind == "500":
                    raise faults.server_error()
                with store().transaction(self.request_id, self.key) as db:
                    answer = self.execute(db)
                    if fault and fault.kind == "accept_then_500":
                        answer = refused(faults.server_error(), self.request_id)
                    if mark:
                        idempotency.keep(db, self.key, mark, answer)
            except Refused as refusal:
                answer = refused(refusal, self.request_id)
                if mark:
                    with store().transaction() as db:
                        idempotency.keep(db, self.key, mark, answer)
        if fault and fault.kind == "accept_then_drop":
            raise ConnectionDropped
        return answer

    def execute(self, db: Transaction) -> Answer:
        body = self.route.handler(Call(db=db, params=self.checked, args=self.args))
        body = documents.answer(db, body, self.checked.get("expand", []))
        return Answer(200, body, {"Request-Id": self.request_id})

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Meter events of one customer and meter are taken one at a time; see `usage`."""
        if self.route.handler is not usage.create:
            yield
            return
        try:
            with usage.in_flight.claim(usage.claim_of(self.checked), usage.overlap()):
                yield
        except usage.Overlap:
            counts.overlap()
            raise


def check_key(request: HttpRequest) -> None:
    """Stripe takes the key as a bearer token.

    Raises:
        Refused: there is none, or it is not the one that this server was started with.
    """
    word, _, key = request.headers.get("Authorization", "").partition(" ")
    if word != "Bearer" or not key:
        raise Refused(
            "You did not provide an API key. You need to provide your API key in the Authorization header, "
            "using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
            status=401,
        )
    if not secrets.compare_digest(key.encode(), settings.STRIPE_SECRET_KEY.encode()):
        raise Refused(f"Invalid API Key provided: {key[:8]}****{key[-4:]}", status=401)


def decoded(request: HttpRequest) -> dict[str, Any]:
    """The parameters: in the body of a POST, else in the query."""
    text = request.META.get("QUERY_STRING", "")
    if request.method == "POST":
        text = request.body.decode("utf-8", errors="replace")
    return encoding.decode(text)


def refused(refusal: Refused, request_id: str) -> Answer:
    return Answer(refusal.status, refusal.body, {"Request-Id": request_id, **refusal.headers})


def hang_up(request: HttpRequest) -> HttpResponse:
    """Close the connection; what is returned after that reaches nobody."""
    connection = request.META.get("gunicorn.socket")
    if isinstance(connection, socket.socket):
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
    return HttpResponse(status=500)
