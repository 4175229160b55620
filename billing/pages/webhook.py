"""The address that Stripe sends webhooks to."""

import logging

from amqp.exceptions import AMQPError
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from kombu.exceptions import OperationalError
from redis import RedisError

from accounts.limits.circuits import asking, broker_circuit
from billing import missed_events, webhook_events
from billing.gateway import webhooks
from billing.tasks import process_event

logger = logging.getLogger(__name__)


@csrf_exempt
@login_not_required
def stripe_webhook(request: HttpRequest) -> HttpResponse:
    """Store an event from Stripe and answer at once; `webhook_events.process` acts on it later.

    While the database is away the answer is a 500, and Stripe sends it again.
    """
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    body = request.read(settings.BODY_LIMIT_BYTES + 1)
    if len(body) > settings.BODY_LIMIT_BYTES:
        return JsonResponse({"error": "The body is too large."}, status=413)
    try:
        event = webhooks.verify(body, request.headers.get("Stripe-Signature", ""))
    except webhooks.Unverified as error:
        if isinstance(error, webhooks.WrongSignature):
            note_refused_signature()
        return JsonResponse({"error": str(error)}, status=400)
    if webhook_events.receive(event):
        wake_worker(event.id)
    return HttpResponse()


def note_refused_signature() -> None:
    """Record it for staff; the answer is the same while the database is away."""
    try:
        missed_events.note_refused_signature()
    except DatabaseError as error:
        logger.warning("refused signature not recorded", extra={"error": type(error).__name__})


def wake_worker(event_id: str) -> None:
    """Process the event at once; where that message is lost, the periodic task finds it within seconds."""
    try:
        with asking(broker_circuit()):
            process_event.apply_async((event_id,), retry=False)
    except (OperationalError, AMQPError, RedisError, OSError) as error:
        logger.warning("webhook task not sent", extra={"error": type(error).__name__})
