"""Reports of use to Stripe in the admin, and the actions for reports that did not arrive.

No action sends a refused batch again: Stripe may have counted it, and then it would be billed twice. The
comparison with Stripe's totals can tell, and sends again what is provably missing.
"""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.template.defaultfilters import pluralize
from django.utils import timezone

from accounts.admin import ReadOnlyInline
from billing.admin.actions import ActionRefused, ActionsAdmin, AdminAction
from billing.admin.links import list_of
from billing.invoicing import comparing
from billing.models import Hold, SendingPause, UsageAttempt, UsageBatch
from billing.reporting import batching, sending


def _not_sealed(batch: UsageBatch) -> str:
    if batch.state == UsageBatch.State.SEALED:
        return ""
    return f"Only a sealed batch waits to be sent; this one is {batch.state}."


def _try_now(batch: UsageBatch, **_: Any) -> Iterator[str]:
    sealed = UsageBatch.objects.filter(pk=batch.pk, state=UsageBatch.State.SEALED)
    if not sealed.update(not_before=timezone.now()):
        raise ActionRefused("It was taken up in the meantime.")
    yield f"{batch}: it is sent within seconds, unless reporting is paused."


TRY_NOW = AdminAction(
    name="try-now",
    label="Try now",
    label_for_many="Try the chosen batches now",
    explanation=(
        "A batch that waits for its next attempt is sent within seconds. It is the same event under the same "
        "identifier, so Stripe counts it once, whatever became of earlier attempts."
    ),
    run=_try_now,
    unavailable_because=_not_sealed,
)


def _not_doubtful(batch: UsageBatch | None) -> str:
    if batch is None or batch.state in UsageBatch.DOUBTFUL:
        return ""
    return "Only a rejected or unknown batch calls for it."


def _repair(_row: None, **_: Any) -> Iterator[str]:
    batching.seal()
    done = False
    for sentence in comparing.repair():
        done = True
        yield f"{sentence[0].upper()}{sentence[1:]}."
    if not done:
        yield "Nothing was due, so nothing was changed."


REPAIR = AdminAction(
    name="mend",
    label="Settle invoices now",
    explanation=(
        "Drafts whose time has come are compared with the ledger, corrected and made final, for all "
        "organizations; use that no subscription bills gets an invoice of its own. The Stripe worker does so by "
        "itself. A rejected or unknown batch needs nothing else: its next invoice bills what its meter lacks. "
        "This may take a while, and does the same as manage.py reconcile --fix."
    ),
    run=_repair,
    unavailable_because=_not_doubtful,
    without_row=True,
)


class AttemptInline(ReadOnlyInline):
    """The calls to Stripe that were made for a batch."""

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
        *("state", "note", "tries", "not_before", "first_tried_at", "claimed_until"),
        *("done_at", "confirmed_at", "identifier", "timestamp", "customer_id", "by_invoice"),
    )
    readonly_fields = ("images", "identifier")
    inlines = (AttemptInline,)
    admin_actions = (TRY_NOW, REPAIR)

    @admin.display(description="Images", ordering="quantity")
    def images(self, batch: UsageBatch) -> str:
        """The number of images, linked to their holds."""
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
    run=_resume,
    unavailable_because=_not_paused,
    without_row=True,
)


@admin.register(SendingPause)
class SendingPauseAdmin(ActionsAdmin):
    list_display = ("since", "detail")
    fields = ("since", "detail", "key_digest")
    admin_actions = (RESUME,)
