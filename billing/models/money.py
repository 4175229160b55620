"""Prices, credit, monthly budgets, holds and the ledger.

Amounts are whole micro-dollars (`_micros`): $0.020 is 20,000. Rules about one row are constraints here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from accounts.models import ApiKey, Organization
from billing.outbox import Mail

if TYPE_CHECKING:
    from django_stubs_ext.db.models import TypedModelMeta
else:
    TypedModelMeta = object


class Immutable(Exception):
    """The code tried to change or delete a row that must never change."""


class AppendOnlyQuerySet(models.QuerySet[Any]):
    """Refuses to change and delete rows. On PostgreSQL a trigger refuses it to other programs too."""

    def update(self, **_kwargs: Any) -> NoReturn:
        raise Immutable(f"{self.model.__name__} rows are never changed: add a new one.")

    def delete(self) -> NoReturn:
        raise Immutable(f"{self.model.__name__} rows are never deleted: add a compensating one.")


class AppendOnly(models.Model):
    """Rows that are never changed nor deleted."""

    class Meta:
        abstract = True

    def save(self, **kwargs: Any) -> None:
        if not self._state.adding:
            raise Immutable(f"{type(self).__name__} rows are never changed: add a new one.")
        super().save(**kwargs)

    def delete(self, **_kwargs: Any) -> NoReturn:  # type: ignore[override]
        raise Immutable(f"{type(self).__name__} rows are never deleted: add a compensating one.")


class Price(AppendOnly):
    """The price of one image of a model and size from `effective_from` on. A change is a new version."""

    model = models.CharField(max_length=64)
    size = models.CharField(max_length=16)
    version = models.PositiveIntegerField()
    amount_micros = models.BigIntegerField()
    effective_from = models.DateTimeField(default=timezone.now)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = AppendOnlyQuerySet.as_manager()

    class Meta(TypedModelMeta):
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["model", "size", "version"], name="price_version_once"),
            models.CheckConstraint(condition=Q(amount_micros__gt=0), name="price_is_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.model} {self.size} v{self.version}"


class Credit(models.Model):
    """An organization's prepaid money: what was granted, what is held, what was spent.

    Work is admitted by one conditional UPDATE of this row, so that parallel calls cannot overdraw it.
    """

    organization = models.OneToOneField(
        Organization, models.PROTECT, primary_key=True, related_name="credit"
    )
    granted_micros = models.BigIntegerField(default=0)
    pending_micros = models.BigIntegerField(default=0)
    posted_micros = models.BigIntegerField(default=0)

    class Meta(TypedModelMeta):
        verbose_name = "credit"
        verbose_name_plural = "credit of each organization"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(granted_micros__gte=0)
                & Q(pending_micros__gte=0)
                & Q(posted_micros__gte=0),
                name="credit_never_negative",
            ),
            models.CheckConstraint(
                condition=Q(granted_micros__gte=F("pending_micros") + F("posted_micros")),
                name="credit_never_overdrawn",
            ),
        ]

    def __str__(self) -> str:
        return f"credit of {self.organization}"

    @property
    def remaining_micros(self) -> int:
        """What may still be spent on new work."""
        return self.granted_micros - self.pending_micros - self.posted_micros


class BudgetQuerySet(models.QuerySet["Budget"]):
    """Reads of budgets."""

    def of_organization(self, organization: Organization) -> Self:
        """The organization's own row; empty before its first image."""
        return self.filter(organization=organization, api_key=None)

    def of_key(self, key: ApiKey) -> Self:
        """The row of the key's rotation family; empty before its first image."""
        return self.filter(api_key=key.family_id)


class Budget(models.Model):
    """What one organization, or one of its keys, has in flight and has spent in a calendar month (UTC).

    The sums belong to `month` and restart at zero with the next one; `in_flight` counts pending holds of
    any month. All three change in the transactions that begin and end holds, and nowhere else.
    The caps and limits that they are compared with are fields of the organization and the key.
    """

    organization = models.ForeignKey(Organization, models.PROTECT, related_name="budgets")
    api_key = models.OneToOneField(
        ApiKey,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="budget",
        help_text="The first key of a rotation family; empty: the organization's own.",
    )
    month = models.DateField(help_text="Its first day.")
    pending_micros = models.BigIntegerField(default=0)
    posted_micros = models.BigIntegerField(default=0)
    in_flight = models.IntegerField(default=0)
    exhausted_at = models.DateTimeField(
        null=True, blank=True, help_text="When the cap first refused an image in this month."
    )
    owed_micros = models.BigIntegerField(
        default=0,
        db_default=0,
        help_text="What the organization owes by the ledger (account receivable), of all months; below "
        "zero is what we owe it. On its own row alone.",
    )
    owed_pending_micros = models.BigIntegerField(
        default=0,
        db_default=0,
        help_text="Held for images in flight that the subscription will pay. On its own row alone.",
    )

    objects = BudgetQuerySet.as_manager()

    class Meta(TypedModelMeta):
        verbose_name = "monthly budget"
        verbose_name_plural = "monthly budgets"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["organization"], condition=Q(api_key=None), name="budget_once"
            ),
            models.CheckConstraint(
                condition=Q(pending_micros__gte=0) & Q(posted_micros__gte=0) & Q(in_flight__gte=0),
                name="budget_never_negative",
            ),
            models.CheckConstraint(
                condition=Q(api_key=None) | Q(owed_micros=0, owed_pending_micros=0),
                name="budget_of_a_key_owes_nothing",
            ),
        ]

    def __str__(self) -> str:
        return f"budget of {self.api_key or self.organization}, {self.month:%Y-%m}"

    @property
    def reserved_micros(self) -> int:
        """What counts against the cap: spent, and held for images in flight."""
        return self.pending_micros + self.posted_micros


class SpendAlert(Mail):
    """A mail that `percent` of a monthly cap is spent: one for each month, cap and percentage."""

    budget = models.ForeignKey(Budget, models.PROTECT, related_name="alerts")
    month = models.DateField()
    percent = models.PositiveSmallIntegerField()
    cap_micros = models.BigIntegerField()
    spent_micros = models.BigIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(TypedModelMeta):
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["budget", "month", "cap_micros", "percent"], name="spend_alert_once"
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["created_at"], condition=Q(done_at=None), name="spend_alert_unsent"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.percent} % of {self.budget}"


class HoldQuerySet(models.QuerySet["Hold"]):
    """Reads of holds."""

    def for_organization(self, organization: Organization) -> Self:
        """The holds of one tenant, the newest first."""
        return self.filter(organization=organization).order_by("-created_at", "-pk")

    def pending(self) -> Self:
        """Those that still reserve money."""
        return self.filter(state=Hold.State.PENDING)


class Hold(models.Model):
    """Money reserved for one image before it is drawn: `pending → captured | released`, both final."""

    class State(models.TextChoices):
        PENDING = "pending"
        CAPTURED = "captured"
        RELEASED = "released"

    class Payer(models.TextChoices):
        CREDIT = "credit"
        SUBSCRIPTION = "subscription"

    organization = models.ForeignKey(Organization, models.PROTECT, related_name="holds")
    api_key = models.ForeignKey(
        ApiKey, models.SET_NULL, null=True, blank=True, related_name="holds"
    )
    key_budget = models.ForeignKey(
        Budget, models.PROTECT, null=True, blank=True, related_name="holds"
    )
    payer = models.CharField(max_length=16, choices=Payer.choices)
    price = models.ForeignKey(Price, models.PROTECT, related_name="holds")
    amount_micros = models.BigIntegerField()
    month = models.DateField(help_text="The budget month that it counts in: its first day.")
    reserved_micros = models.BigIntegerField(
        help_text="What was spent and held under the tightest limit, this hold included."
    )
    cap_micros = models.BigIntegerField(
        null=True,
        blank=True,
        help_text="That limit, as it was when the hold was admitted; empty: there was none.",
    )
    usage_batch = models.ForeignKey(
        "billing.UsageBatch",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="holds",
        help_text="With which it is reported to Stripe, where the subscription pays.",
    )
    state = models.CharField(max_length=16, choices=State.choices, default=State.PENDING)
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = HoldQuerySet.as_manager()

    class Meta(TypedModelMeta):
        verbose_name = "hold"
        verbose_name_plural = "holds: money reserved or charged for an image"
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(amount_micros__gt=0), name="hold_is_positive"),
            models.CheckConstraint(
                condition=Q(reserved_micros__lte=F("cap_micros")), name="hold_fits_its_cap"
            ),
            models.CheckConstraint(
                condition=Q(payer__in=["credit", "subscription"]), name="hold_payer_known"
            ),
            models.CheckConstraint(
                condition=Q(state="pending", ended_at=None)
                | Q(state__in=["captured", "released"], ended_at__isnull=False),
                name="hold_ends_once",
            ),
            models.CheckConstraint(
                condition=Q(usage_batch=None) | Q(payer="subscription", state="captured"),
                name="hold_reported_when_captured",
            ),
            models.CheckConstraint(
                condition=Q(payer="subscription") | Q(cap_micros__isnull=False),
                name="hold_on_credit_has_its_cap",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["organization", "-created_at"], name="hold_by_organization"),
            models.Index(fields=["created_at"], condition=Q(state="pending"), name="hold_pending"),
            models.Index(fields=["month"], name="hold_by_month"),
            models.Index(
                fields=["organization", "price", "ended_at"],
                condition=Q(state="captured", payer="subscription", usage_batch=None),
                name="hold_unreported",
            ),
        ]

    def __str__(self) -> str:
        return f"hold {self.pk} ({self.state})"
