"""What staff see of use as Stripe is told of it, and what to do where it did not arrive.

There is no button that sends a refused batch again: Stripe may have counted it, and then it would be billed
twice. The comparison with Stripe's totals knows, and sends again what is provably missing.
"""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.template.defaultfilters import pluralize
from django.utils import timezone

from accounts.admin import ReadOnlyInline
from billing.admin.actions import ActionsAdmin, AdminAction, NotDone
from billing.admin.links import list_of
from billing.models import Hold, SendingPause, UsageAttempt, UsageBatch
from billing.reporting import batching, comparing, sending


def _not_sealed(batch: UsageBatch) -> str:
    if batch.state == UsageBatch.State.SEALED:
        return ""
    return f"Only a sealed batch waits to be sent; this one is {batch.state}."


def _try_now(batch: UsageBatch, **_: Any) -> Iterator[str]:
    sealed = UsageBatch.objects.filter(pk=batch.pk, state=UsageBatch.State.SEALED)
    if not sealed.update(not_before=timezone.now()):
        raise NotDone("It was taken up in the meantime.")
    yield f"{batch}: it is sent within seconds, unless reporting is paused."


TRY_NOW = AdminAction(
    name="try-now",
    label="Try now",
    label_of_several="Try the chosen batches now",
    explanation=(
        "A batch that waits for its next attempt is sent within seconds. It is the same event under the same "
        "identifier, so Stripe counts it once, whatever became of earlier attempts."
    ),
    do=_try_now,
    why_not=_not_sealed,
)


def _not_doubtful(batch: UsageBatch | None) -> str:
    if batch is None or batch.state in comparing.DOUBTFUL:
        return ""
    return "Only a rejected or unknown batch calls for it."


def _mend(_row: None, **_: Any) -> Iterator[str]:
    batching.seal()
    done = False
    for sentence in comparing.repair():
        done = True
        yield f"{sentence[0].upper()}{sentence[1:]}."
    if not done:
        yield "Compared. Nothing could be proven wrong, so nothing was changed."


MEND = AdminAction(
    name="mend",
    label="Compare with Stripe and mend",
    explanation=(
        "Stripe's totals are compared with our batches, for all organizations. What is provably missing there "
        "is sent again; what it provably counted twice is taken back; a rejected or unknown batch that it "
        "counted after all is confirmed. Where the figures leave a choice, nothing is changed. Batches of the "
        "last 15 minutes are left out, for Stripe adds up with a lag. This may take a while, and does the same "
        "as manage.py reconcile --fix."
    ),
    do=_mend,
    why_not=_not_doubtful,
    of_everything=True,
)


class AttemptInline(ReadOnlyInline):
    """Each call that was made."""

    model = UsageAttempt
    fields = ("started_at", "ended_at", "outcome", "detail", "idempotency_key")
    verbose_name_plural = "Attempts"


@admin.register(UsageBatch)
class UsageBatchAdmin(ActionsAdmin):
    list_display = ("sealed_at", "state", "quantity", "organization", "price", "tries", "note")
    list_filter = ("state",)
    list_select_related = ("organization", "price")
    search_fields = ("id", "organization__name", "customer_id", "note")
    date_hierarchy = "sealed_at"
    ordering = ("-sealed_at", "pk")
    fields = (
        *("organization", "price", "images", "first_captured_at", "last_captured_at", "sealed_at"),
        *("state", "note", "tries", "not_before", "first_tried_at", "sending_until"),
        *("accepted_at", "confirmed_at", "identifier", "timestamp", "customer_id", "by_invoice"),
    )
    readonly_fields = ("images", "identifier")
    inlines = (AttemptInline,)
    acts = (TRY_NOW, MEND)

    @admin.display(description="Images", ordering="quantity")
    def images(self, batch: UsageBatch) -> str:
        """How many, and which."""
        return list_of(
            Hold,
            f"{batch.quantity} image{pluralize(batch.quantity)}",
            usage_batch__id__exact=batch.pk,
        )


def _not_paused(_row: object) -> str:
    return "" if SendingPause.objects.exists() else "Reporting is not paused."


def _resume(_row: None, **_: Any) -> Iterator[str]:
    sending.resume()
    yield "Reporting to Stripe goes on."


RESUME = AdminAction(
    name="resume",
    label="Resume",
    explanation=(
        "Use is reported to Stripe again, with the key that it refused before. If Stripe refuses it again, "
        "reporting stops again; nothing is lost either way. Another STRIPE_SECRET_KEY ends a pause by itself."
    ),
    do=_resume,
    why_not=_not_paused,
    of_everything=True,
)


@admin.register(SendingPause)
class SendingPauseAdmin(ActionsAdmin):
    list_display = ("since", "detail")
    fields = ("since", "detail", "key_digest")
    acts = (RESUME,)
