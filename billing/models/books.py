"""Sums that are kept beside the books, and the record of each time that the books were checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.models import Organization
from billing.models.money import Hold, Price

if TYPE_CHECKING:
    from django_stubs_ext.db.models import TypedModelMeta
else:
    TypedModelMeta = object


class UsageHour(models.Model):
    """Images delivered to one organization in one hour (UTC), by key, price and payer, and what they cost.

    It changes in the transaction that captures, so it always is the sum of the ledger's captures.
    """

    organization = models.ForeignKey(Organization, models.PROTECT, related_name="usage_hours")
    hour = models.DateTimeField(help_text="Its first moment.")
    key = models.PositiveBigIntegerField(
        default=0, help_text="The id of the API key, which may be gone; 0: the playground."
    )
    price = models.ForeignKey(Price, models.PROTECT, related_name="usage_hours")
    payer = models.CharField(max_length=16, choices=Hold.Payer.choices)
    images = models.PositiveBigIntegerField(default=0)
    micros = models.BigIntegerField(default=0)

    class Meta(TypedModelMeta):
        verbose_name = "usage of an hour"
        verbose_name_plural = "usage by hour"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["organization", "hour", "key", "price", "payer"], name="usage_hour_once"
            ),
            models.CheckConstraint(condition=Q(micros__gte=0), name="usage_hour_never_negative"),
        ]
        indexes: ClassVar = [models.Index(fields=["hour"], name="usage_hour_by_time")]

    def __str__(self) -> str:
        return f"{self.images} × {self.price}, {self.hour:%Y-%m-%d %H:00}"


class ClosedMonth(models.Model):
    """A month (UTC) whose books were proven and cannot change any more, with a checksum of them."""

    month = models.DateField(unique=True, help_text="Its first day.")
    closed_at = models.DateTimeField(default=timezone.now)
    holds = models.PositiveBigIntegerField()
    captures = models.PositiveBigIntegerField()
    captured_micros = models.BigIntegerField()
    entries = models.PositiveBigIntegerField(help_text="Of the ledger.")
    checksum = models.CharField(max_length=64, help_text="SHA-256 of the sums that were proven.")
    sums = models.JSONField(default=dict, help_text="Those sums.")

    class Meta(TypedModelMeta):
        verbose_name = "closed month"
        verbose_name_plural = "closed months"

    def __str__(self) -> str:
        return f"{self.month:%Y-%m}"


class BooksCheck(models.Model):
    """One run of `reconcile`: what it looked at, how long it took and how many differences it found."""

    started_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True, help_text="Empty: it did not finish.")
    holds = models.PositiveBigIntegerField(default=0)
    entries = models.PositiveBigIntegerField(default=0, help_text="Of the ledger.")
    organizations = models.PositiveBigIntegerField(default=0, help_text="Compared with Stripe.")
    differences = models.PositiveBigIntegerField(default=0)

    class Meta(TypedModelMeta):
        verbose_name = "check of the books"
        verbose_name_plural = "checks of the books"
        indexes: ClassVar = [models.Index(fields=["-started_at"], name="books_check_by_time")]

    def __str__(self) -> str:
        return f"{self.started_at:%Y-%m-%d %H:%M}: {self.differences} differences"
