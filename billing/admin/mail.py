"""Mails on their way in the admin: who waits for one and why. No page shows a text, for it may hold a link."""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from accounts.sign_in import mailboxes
from billing.admin.actions import ActionRefused, ActionsAdmin, AdminAction
from billing.admin.links import NOTHING
from billing.models import OutgoingMail


def _is_over(mail: OutgoingMail) -> str:
    return f"It is {mail.get_outcome_display()}, and its text is gone." if mail.done_at else ""


def _try_now(mail: OutgoingMail, **_: Any) -> Iterator[str]:
    if not OutgoingMail.objects.free().filter(pk=mail.pk).update(not_before=timezone.now()):
        raise ActionRefused("A worker has it at this moment.")
    yield f"{mail}: it is tried within seconds, or within a minute where the mail server was away."


TRY_NOW = AdminAction(
    name="try-now",
    label="Try now",
    label_for_many="Try the chosen mails now",
    explanation="A mail that waits for its next attempt is sent as soon as the mail server takes it.",
    run=_try_now,
    unavailable_because=_is_over,
)


@admin.register(OutgoingMail)
class OutgoingMailAdmin(ActionsAdmin):
    list_display = ("created_at", "kind", "to", "state", "tries", "not_before", "note")
    list_filter = (("done_at", admin.EmptyFieldListFilter), "outcome", "kind")
    search_fields = ("recipient", "kind", "note")
    search_help_text = "An address finds the mails to its mailbox, sent ones too."
    ordering = ("-created_at", "-pk")
    fields = (
        *("kind", "to", "state", "created_at", "expires_at", "done_at"),
        *("tries", "refusals", "not_before", "claimed_until", "note", "reference"),
    )
    readonly_fields = ("to", "state", "reference")
    admin_actions = (TRY_NOW,)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[OutgoingMail], search_term: str
    ) -> tuple[QuerySet[OutgoingMail], bool]:
        """An address is searched by its digests: a mail that was sent keeps nothing else of it."""
        if "@" in search_term:
            digests = mailboxes.digests(search_term)
            return queryset.filter(recipient_digest__in=digests), False
        return super().get_search_results(request, queryset, search_term)

    @admin.display(description="To", ordering="recipient")
    def to(self, mail: OutgoingMail) -> str:
        """The address, as long as the mail is not sent."""
        return mail.recipient or NOTHING

    @admin.display(ordering="outcome")
    def state(self, mail: OutgoingMail) -> str:
        return mail.get_outcome_display() or "waits"
