"""Who has had trial credit. These rows outlive the organization, so that a new organization does not get it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.db import models
from django.db.models import Q

from accounts.models import Organization

if TYPE_CHECKING:
    from django_stubs_ext.db.models import TypedModelMeta
else:
    TypedModelMeta = object


class Trial(models.Model):
    """What became of an organization's trial credit. Mailboxes are digests; `accounts/sign_in/mailboxes.py` makes them."""

    class Outcome(models.TextChoices):
        GRANTED = "granted", "Granted"
        MAILBOX_USED = "mailbox_used", "Refused: the mailbox had it before"
        NETWORK_USED_UP = "network_used_up", "Refused: too many from one network that day"

    organization = models.OneToOneField(
        Organization, models.SET_NULL, null=True, blank=True, related_name="trial"
    )
    outcome = models.CharField(max_length=16, choices=Outcome.choices)
    mailbox = models.CharField(
        max_length=64, null=True, blank=True, help_text="HMAC-SHA256 under the pepper."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(TypedModelMeta):
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["mailbox"], condition=Q(outcome="granted"), name="trial_once_for_a_mailbox"
            ),
            models.CheckConstraint(
                condition=Q(outcome__in=["granted", "mailbox_used", "network_used_up"]),
                name="trial_outcome_known",
            ),
        ]

    def __str__(self) -> str:
        return f"trial of {self.organization} ({self.outcome})"


class TrialNetwork(models.Model):
    """How many trial credits one network had on one day (UTC); `network` is a digest too."""

    network = models.CharField(max_length=64)
    day = models.DateField()
    granted = models.PositiveIntegerField(default=0)

    class Meta(TypedModelMeta):
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["network", "day"], name="trial_network_once_a_day"),
        ]

    def __str__(self) -> str:
        return f"{self.granted} on {self.day}"
