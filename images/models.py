"""Generations and their pictures.

A generation is the job itself: `queued → running(attempt, lease_until) → succeeded | failed |
canceled | expired`. The last four are final. Every change is a compare-and-set on the status and,
from `running` on, on the attempt; see generation.py and leases.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts import base62
from accounts.models import ApiKey, Organization
from billing.models import Hold

if TYPE_CHECKING:
    from django_stubs_ext.db.models import TypedModelMeta
else:
    TypedModelMeta = object

ID_LENGTH = 22  # 131 bits
TOKEN_LENGTH = 32


def new_generation_id() -> str:
    """`gen_` and 22 random base62 characters."""
    return f"gen_{base62.random(ID_LENGTH)}"


def new_image_token() -> str:
    """The part of a hosted link that nobody can guess."""
    return base62.random(TOKEN_LENGTH)


class GenerationQuerySet(models.QuerySet["Generation"]):
    """Reads of generations."""

    def for_organization(self, organization: Organization) -> Self:
        """The jobs of one tenant, the newest first."""
        return self.filter(organization=organization).order_by("-created_at", "-pk")

    def queued(self, model: str) -> Self:
        """The jobs that wait for a worker of this model, the oldest first. queue/fairness.py says whose is next."""
        return self.filter(status=Generation.Status.QUEUED, model=model).order_by("created_at")

    def unfinished(self) -> Self:
        """Those that are neither delivered nor given up."""
        return self.filter(status__in=Generation.UNFINISHED)

    def finished(self) -> Self:
        """Those that will never change again."""
        return self.exclude(status__in=Generation.UNFINISHED)


class Generation(models.Model):
    """One request for one image, from admission to its final state."""

    class Status(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELED = "canceled"
        EXPIRED = "expired"

    UNFINISHED: ClassVar = (Status.QUEUED, Status.RUNNING)

    id = models.CharField(primary_key=True, max_length=26, default=new_generation_id)
    organization = models.ForeignKey(Organization, models.PROTECT, related_name="generations")
    api_key = models.ForeignKey(
        ApiKey, models.SET_NULL, null=True, blank=True, related_name="generations"
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="Who ran it in the playground.",
    )
    hold = models.OneToOneField(Hold, models.PROTECT, related_name="generation")
    request_id = models.CharField(max_length=64, db_index=True)

    model = models.CharField(max_length=64)
    prompt = models.TextField()
    size = models.CharField(max_length=16)
    seed = models.BigIntegerField()
    response_format = models.CharField(max_length=16, default="b64_json")

    idempotency_key = models.CharField(
        max_length=64,
        null=True,
        blank=True,
        help_text="SHA-256. While set, a call with the same key is answered by this job.",
    )
    body_digest = models.CharField(
        max_length=64, blank=True, help_text="SHA-256 of what was asked."
    )
    joined_at = models.DateTimeField(
        null=True, blank=True, help_text="A client that retries waits for this job's answer."
    )
    retry_joined = models.PositiveSmallIntegerField(
        default=0,
        db_default=0,
        help_text="The highest retry count of a call that has taken this job's answer.",
    )
    answer_lost_at = models.DateTimeField(
        null=True, blank=True, help_text="When an answer was seen to break off."
    )
    # Written by the previous release alone; may go with the next one.
    answered_at = models.DateTimeField(null=True, blank=True, editable=False)

    status = models.CharField(max_length=16, choices=Status.choices, default=Status.QUEUED)
    attempt = models.PositiveSmallIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    worker = models.CharField(max_length=128, blank=True)
    error_code = models.CharField(max_length=64, blank=True)

    engine = models.CharField(max_length=200, blank=True, help_text="Fingerprint of what drew it.")
    prompt_tokens = models.PositiveIntegerField(null=True, blank=True)
    prompt_tokens_seen = models.PositiveIntegerField(null=True, blank=True)
    prompt_tokens_unknown = models.PositiveIntegerField(
        null=True, blank=True, help_text="Of those seen, the ones that the model has no word for."
    )

    created_at = models.DateTimeField(default=timezone.now)
    deadline_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    drawn_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    purged_at = models.DateTimeField(null=True, blank=True)

    objects = GenerationQuerySet.as_manager()

    class Meta(TypedModelMeta):
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(status="queued", ended_at=None, lease_until=None)
                | Q(status="running", ended_at=None, lease_until__isnull=False, attempt__gte=1)
                | Q(
                    status__in=["succeeded", "failed", "canceled", "expired"],
                    ended_at__isnull=False,
                    lease_until=None,
                ),
                name="generation_status_and_times_agree",
            ),
            models.CheckConstraint(
                condition=Q(seed__gte=0, seed__lte=2**32 - 1), name="generation_seed_in_range"
            ),
            models.UniqueConstraint(
                fields=["organization", "idempotency_key"], name="generation_idempotency_key_once"
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["model", "organization", "created_at"],
                condition=Q(status="queued"),
                name="generation_queue",
            ),
            models.Index(
                fields=["lease_until"], condition=Q(status="running"), name="generation_leases"
            ),
            models.Index(
                fields=["deadline_at"],
                condition=Q(status__in=["queued", "running"]),
                name="generation_deadlines",
            ),
            models.Index(fields=["organization", "-created_at"], name="generation_by_organization"),
            models.Index(fields=["api_key", "-created_at"], name="generation_by_key"),
            models.Index(
                fields=["ended_at"],
                condition=Q(purged_at=None, ended_at__isnull=False),
                name="generation_unpurged",
            ),
        ]

    def __str__(self) -> str:
        return self.id

    @property
    def is_finished(self) -> bool:
        """Whether the status is one of the four final ones."""
        return self.status not in self.UNFINISHED

    @property
    def cost_micros(self) -> int:
        """What was charged: the held price once captured, else nothing."""
        return self.hold.amount_micros if self.hold.state == Hold.State.CAPTURED else 0


class LastServed(models.Model):
    """When a worker last took up a job of this organization; see queue/fairness.py."""

    organization = models.OneToOneField(
        Organization, models.CASCADE, primary_key=True, related_name="last_served"
    )
    served_at = models.DateTimeField()

    class Meta(TypedModelMeta):
        # The table keeps the model's first name, so that the previous release runs beside this one.
        db_table = "images_turn"

    def __str__(self) -> str:
        return f"{self.organization} was served at {self.served_at}"


class ImageQuerySet(models.QuerySet["Image"]):
    """Reads of pictures."""

    def for_organization(self, organization: Organization) -> Self:
        """The pictures of one tenant, the newest first."""
        return self.filter(generation__organization=organization).order_by("-created_at")


class Image(models.Model):
    """A delivered picture: written in the transaction that charges for it, and in no other."""

    generation = models.OneToOneField(
        Generation, models.PROTECT, primary_key=True, related_name="image"
    )
    token = models.CharField(max_length=TOKEN_LENGTH, unique=True, default=new_image_token)
    storage_key = models.CharField(max_length=200)
    sha256 = models.CharField(max_length=64)
    byte_count = models.PositiveIntegerField()
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()

    objects = ImageQuerySet.as_manager()

    def __str__(self) -> str:
        return f"picture of {self.generation_id}"

    @property
    def is_alive(self) -> bool:
        """Whether it can still be fetched."""
        return timezone.now() < self.expires_at
