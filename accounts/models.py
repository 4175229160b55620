"""Who uses EcoHash: users, the organizations that pay, who belongs to which, and their API keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from django.conf import settings
from django.contrib.auth.models import AbstractUser, BaseUserManager
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Case, Q, When
from django.db.models.functions import Coalesce, Lower
from django.utils import timezone

if TYPE_CHECKING:
    from django_stubs_ext.db.models import TypedModelMeta
else:
    TypedModelMeta = object


EMAIL_LIMIT = 254  # characters, the length of Django's column
# A limit of nothing at all would be a revoked key or a suspended organization; a cap of $0 is allowed.
LIMITS_ARE_POSITIVE = (
    (Q(requests_per_minute=None) | Q(requests_per_minute__gte=1))
    & (Q(images_per_minute=None) | Q(images_per_minute__gte=1))
    & (Q(images_in_flight=None) | Q(images_in_flight__gte=1))
    & (Q(monthly_cap_micros=None) | Q(monthly_cap_micros__gte=0))
)


class UserManager(BaseUserManager["User"]):
    """Makes users that are known by their e-mail address alone."""

    def create_user(self, email: str, password: str | None = None, **extra: Any) -> User:
        """A saved user; the address is stored in lower case.

        Raises:
            ValidationError: in lower case it is longer than the column. SQLite would keep it, PostgreSQL fail.
        """
        user = self.model(email=email.strip().lower(), **extra)
        if len(user.email) > EMAIL_LIMIT:
            raise ValidationError(f"An address has at most {EMAIL_LIMIT} characters.")
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **extra: Any) -> User:
        """A saved user with every permission, for `manage.py createsuperuser`."""
        return self.create_user(email, password, is_staff=True, is_superuser=True, **extra)


class User(AbstractUser):
    """A person who signs in with an e-mail address."""

    username = None  # type: ignore[assignment]  # the address is the name
    email = models.EmailField("e-mail address", unique=True)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    objects: ClassVar[UserManager] = UserManager()  # type: ignore[assignment]

    class Meta(TypedModelMeta):
        constraints: ClassVar = [
            models.UniqueConstraint(Lower("email"), name="user_email_unique_in_any_case")
        ]

    def __str__(self) -> str:
        return self.email


class OrganizationQuerySet(models.QuerySet["Organization"]):
    def of(self, user: User) -> Self:
        """Those that the user belongs to, the first joined first."""
        return self.filter(memberships__user=user).order_by("memberships__created_at")


class Organization(models.Model):
    """The tenant: it owns keys, images and money."""

    name = models.CharField(max_length=100)
    limits_lifted = models.BooleanField(
        default=False, help_text="No limit on requests and images a minute and in flight."
    )
    requests_per_minute = models.PositiveIntegerField(
        null=True, blank=True, help_text="Empty: the installation's default."
    )
    images_per_minute = models.PositiveIntegerField(
        null=True, blank=True, help_text="Empty: the installation's default."
    )
    images_in_flight = models.PositiveIntegerField(
        null=True, blank=True, help_text="Empty: the installation's default."
    )
    monthly_cap_micros = models.BigIntegerField(
        null=True, blank=True, help_text="The most it may spend in a calendar month (UTC)."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OrganizationQuerySet.as_manager()

    class Meta(TypedModelMeta):
        constraints: ClassVar = [
            models.CheckConstraint(condition=LIMITS_ARE_POSITIVE, name="organization_limits"),
        ]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A user's role in an organization."""

    class Role(models.TextChoices):
        OWNER = "owner"
        ADMIN = "admin"
        MEMBER = "member"
        BILLING = "billing"

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role.choices, default=Role.MEMBER)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(TypedModelMeta):
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["organization", "user"], name="membership_once"),
            models.CheckConstraint(
                condition=Q(role__in=["owner", "admin", "member", "billing"]),
                name="membership_role_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.organization} ({self.role})"


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def for_organization(self, organization: Organization) -> Self:
        """The keys of one tenant, the newest first."""
        return self.filter(organization=organization).order_by("-created_at", "-pk")

    def live(self) -> Self:
        """Those that still work: neither revoked nor suspended nor expired."""
        unexpired = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
        return self.filter(unexpired, revoked_at=None, suspended_at=None)

    def count_families(self) -> int:
        """How many rotation families these keys belong to."""
        rows = self.order_by().annotate(family=Coalesce("root_id", "pk"))
        return rows.values("family").distinct().count()

    def ended_last(self) -> Self:
        """The revoked and expired keys last, and within both groups the newest first.

        `ended` is 1 for them and 0 for others. A suspended key is not among them: somebody has to replace it.
        """
        ended = Q(revoked_at__isnull=False) | Q(suspended_at=None, expires_at__lte=timezone.now())
        group = Case(When(ended, then=1), default=0, output_field=models.SmallIntegerField())
        return self.annotate(ended=group).order_by("ended", "-created_at", "-pk")

    def after(self, last: Any) -> Self:
        """What follows that key in the order of `ended_last`; both must come from it."""
        older = Q(created_at__lt=last.created_at) | Q(created_at=last.created_at, pk__lt=last.pk)
        return self.filter(Q(ended__gt=last.ended) | Q(older, ended=last.ended))


class ApiKey(models.Model):
    """An API key without its secret, which is shown once: enough to recognize the key, not to use it."""

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12)
    last_four = models.CharField(max_length=4)
    digest = models.CharField(max_length=64, unique=True, help_text="HMAC-SHA256 under the pepper.")
    pepper_version = models.PositiveSmallIntegerField()
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    suspended_at = models.DateTimeField(null=True, blank=True)
    suspended_because = models.CharField(max_length=200, blank=True)
    root = models.ForeignKey(
        "self",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="rotations",
        help_text="The key that this one was first rotated from; both share limits and spending.",
    )

    may_generate = models.BooleanField(default=True)
    may_read_usage = models.BooleanField(default=True)
    allowed_networks = models.JSONField(
        default=list, blank=True, help_text="Networks in CIDR form; empty means any address."
    )
    requests_per_minute = models.PositiveIntegerField(null=True, blank=True)
    images_per_minute = models.PositiveIntegerField(null=True, blank=True)
    images_in_flight = models.PositiveIntegerField(null=True, blank=True)
    monthly_cap_micros = models.BigIntegerField(null=True, blank=True)

    # For clients that cannot be changed; all off, so that a key keeps the strict contract.
    prefers_links = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Answers hold a link where the call does not say what they should hold.",
    )
    model_aliases = models.JSONField(
        default=dict,
        db_default=models.Value({}, models.JSONField()),
        blank=True,
        help_text="Names of models that clients send, each with the model that it means.",
    )
    nearest_size = models.BooleanField(
        default=False,
        db_default=False,
        help_text="A size that is not offered becomes the offered one of the nearest shape.",
    )

    objects = ApiKeyQuerySet.as_manager()

    class Meta(TypedModelMeta):
        constraints: ClassVar = [
            models.CheckConstraint(condition=LIMITS_ARE_POSITIVE, name="api_key_limits"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.hint})"

    @property
    def family_id(self) -> int:
        """The number of the first key of its rotation family, which shares limits and spending."""
        return self.root_id or self.pk

    @property
    def is_live(self) -> bool:
        """Whether it still works: neither revoked nor suspended nor expired."""
        expired = self.expires_at is not None and self.expires_at <= timezone.now()
        return not (self.revoked_at or self.suspended_at or expired)

    @property
    def scopes(self) -> list[str]:
        """What it may do, by the names of the API."""
        scopes = {"generate": self.may_generate, "usage.read": self.may_read_usage}
        return [name for name, granted in scopes.items() if granted]

    @property
    def client_settings(self) -> list[str]:
        """The settings for clients that are on, as pages name them."""
        number = len(self.model_aliases)
        settings_on = {
            "links by default": self.prefers_links,
            f"{number} model alias{'' if number == 1 else 'es'}": number,
            "nearest size": self.nearest_size,
        }
        return [name for name, is_on in settings_on.items() if is_on]

    @property
    def hint(self) -> str:
        """How lists show the key: `eco_Ab12…wxyz`."""
        return f"{self.prefix}…{self.last_four}"
