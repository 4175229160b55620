"""Forms of the keys pages. Those of sign-up and sign-in are allauth's."""

import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, cast

from django import forms
from django.utils import dateformat, timezone

from accounts.keys import aliases
from accounts.keys.aliases import ALIASES_LIMIT, COMMON_NAMES
from accounts.keys.fields import AliasesField, NetworksField, UncutCharField
from accounts.keys.keys import Terms
from accounts.limits.plans import limits_of
from accounts.models import ApiKey, Organization

NAME_LIMIT = 100  # characters, the column's length
LIMIT_LIMIT = 1_000_000  # what no organization reaches, and every database can hold
MICROS_PER_DOLLAR = 1_000_000
LONGEST_LIFE = timedelta(days=3_653)

NEVER, OWN_DATE, KEEP = "never", "date", "keep"
EXPIRIES = [
    (NEVER, "Never"),
    ("7", "In 7 days"),
    ("30", "In 30 days"),
    ("90", "In 90 days"),
    ("365", "In a year"),
    (OWN_DATE, "On a date …"),
]
EVERYTHING = "generate usage.read"
ACCESS = [
    (EVERYTHING, "Generate images and read usage"),
    ("generate", "Generate images only"),
    ("usage.read", "Read usage only"),
]
OVERLAPS = {
    "0": ("At once", timedelta(0)),
    "1": ("In an hour", timedelta(hours=1)),
    "24": ("In 24 hours", timedelta(hours=24)),
    "168": ("In 7 days", timedelta(days=7)),
}
DEFAULT_OVERLAP = "24"
# Settings for clients that cannot be changed; they have a part of the form to themselves.
CLIENT_FIELDS = ("prefers_links", "alias_names", "other_aliases", "nearest_size")


GROUPED = re.compile(r"\d{1,3}(,\d{3})+(\.\d*)?", re.ASCII)


class DollarField(forms.DecimalField):
    """US dollars to the tenth of a cent on the page, micro-dollars in the code."""

    def __init__(self, *, placeholder: str = "", **options: Any) -> None:
        shown = {"inputmode": "decimal", "autocomplete": "off", "placeholder": placeholder}
        super().__init__(
            min_value=0,
            max_value=1_000_000,
            decimal_places=3,
            widget=forms.TextInput(attrs=shown),
            error_messages={
                "invalid": "The spend limit must be an amount in dollars, such as 50 or 12.50.",
                "min_value": "The spend limit cannot be below zero.",
                "max_value": "The spend limit can be at most $1,000,000.",
                "max_decimal_places": "The spend limit goes down to tenths of a cent, such as 0.005.",
            },
            **options,
        )

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, int):
            return value
        dollars = Decimal(value) / MICROS_PER_DOLLAR
        return f"{dollars:.2f}" if not value % 10_000 else f"{dollars.normalize():f}"

    def to_python(self, value: Any) -> Any:
        if isinstance(value, str):
            value = value.strip().removeprefix("$").strip()
            # "1,000" is a thousand; "0,50" is half a dollar to whoever writes it, and not fifty.
            if GROUPED.fullmatch(value):
                value = value.replace(",", "")
        return super().to_python(value)

    def clean(self, value: Any) -> Any:
        dollars = super().clean(value)
        return None if dollars is None else int(dollars * MICROS_PER_DOLLAR)


def limit_field(label: str) -> forms.IntegerField:
    """A limit of the key's own; empty means the organization's."""
    return forms.IntegerField(
        label=label,
        required=False,
        min_value=1,
        max_value=LIMIT_LIMIT,
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off"}),
        error_messages={
            "invalid": "Write a whole number, or leave it empty.",
            "min_value": "At least 1. To shut the key, revoke it.",
            "max_value": "At most 1,000,000. Leave it empty for the organization's limit.",
        },
    )


class KeyForm(forms.Form):
    """What is asked of a new key: a name to recognize it by; all else may stay as it is."""

    name = UncutCharField(
        max_length=NAME_LIMIT,
        help_text="Where the key will live, so that you know which one to revoke.",
        widget=forms.TextInput(attrs={"placeholder": "Production server", "autocomplete": "off"}),
        error_messages={
            "required": "Give the key a name, such as “Laptop” or “Production”.",
            "max_length": "A name has at most %(limit_value)d characters; this has %(show_value)d.",
        },
    )
    expiry = forms.ChoiceField(
        label="Expires",
        choices=EXPIRIES,
        initial=NEVER,
        required=False,
        error_messages={"invalid_choice": "Choose one of the times, or a date of your own."},
    )
    expires_on = forms.DateField(
        label="Last day",
        required=False,
        help_text="It works until the end of that day, UTC.",
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
        error_messages={"invalid": "Write the date as year-month-day, such as 2027-01-31."},
    )
    access = forms.ChoiceField(
        label="Permissions",
        choices=ACCESS,
        initial=EVERYTHING,
        required=False,
        error_messages={
            "required": "Choose what the key may do.",
            "invalid_choice": "Choose one of the three.",
        },
    )
    monthly_cap_micros = DollarField(
        label="Spend limit a month, in dollars",
        required=False,
        help_text="By calendar month, UTC. Empty: only your organization's limit.",
    )
    requests_per_minute = limit_field("Requests a minute")
    images_per_minute = limit_field("Images a minute")
    images_in_flight = limit_field("Concurrent images")
    allowed_networks = NetworksField(
        label="Allowed networks",
        required=False,
        help_text="Addresses or networks that calls may come from, one a line. Empty: from anywhere.",
    )
    prefers_links = forms.BooleanField(
        label="Return links by default",
        required=False,
        help_text=(
            "For clients that read only <code>url</code>, such as LangChain's DallEAPIWrapper or CrewAI's DALL-E "
            "tool: without it they fail after the image was charged. Leave it off for clients that read only "
            "<code>b64_json</code>, such as Haystack or Pydantic AI. A call that sets <code>response_format</code> "
            "gets what it asks for."
        ),
    )
    alias_names = forms.MultipleChoiceField(
        label="Model aliases",
        choices=[(name, name) for name in COMMON_NAMES],
        required=False,
        widget=forms.CheckboxSelectMultiple,
        error_messages={"invalid_choice": "Choose among these names, and write others below."},
    )
    other_aliases = AliasesField(
        label="Other aliases",
        required=False,
    )
    nearest_size = forms.BooleanField(
        label="Use the nearest size",
        required=False,
        help_text=(
            "For clients that offer only sizes of other models, such as <code>1792x1024</code> or "
            "<code>1536x1024</code>. The image gets the available size of the nearest shape, at that size's price, "
            "and the response names it."
        ),
    )

    def __init__(self, *args: Any, organization: Organization, **options: Any) -> None:
        super().__init__(*args, **options)
        of_all = limits_of(organization)
        for name in ("requests_per_minute", "images_per_minute", "images_in_flight"):
            figure = getattr(of_all, name)
            self.fields[name].widget.attrs["placeholder"] = str(figure) if figure else "no limit"
        default = aliases.MODEL_IDS[0]
        self.fields["alias_names"].help_text = (
            "For clients that send a fixed model name, such as LlamaIndex, Agno or CAMEL. Each name that you "
            f"choose means <code>{default}</code> for this key."
        )
        self.fields[
            "other_aliases"
        ].help_text = f"One a line. A name means <code>{default}</code>; <code>name = model</code> chooses another model."

    @property
    def beyond_the_name(self) -> bool:
        """Whether somebody filled in, or got wrong, more than the name: then the page shows it."""
        told = {*self.changed_data, *self.errors} - {"name", *CLIENT_FIELDS}
        return self.is_bound and bool(told)

    @property
    def for_clients(self) -> bool:
        """Whether a setting for clients is on, or wrong: then the page shows them all."""
        return any(self[name].value() or name in self.errors for name in CLIENT_FIELDS)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = self.cleaned_data
        self._take_aliases()
        expiry = cleaned.get("expiry") or NEVER
        if expiry == OWN_DATE:
            if "expires_on" not in self.errors:
                self._take_date(cleaned.get("expires_on"))
        elif expiry == KEEP:
            cleaned["expires_at"] = self.initial.get("expires_at")
        else:
            days = None if expiry == NEVER else timedelta(days=int(expiry))
            cleaned["expires_at"] = timezone.now() + days if days else None
        return cleaned

    def _take_aliases(self) -> None:
        """Put the names that were ticked and those that were written together."""
        ticked, written = (
            self.cleaned_data.get("alias_names", []),
            self.cleaned_data.get("other_aliases", {}),
        )
        default = aliases.MODEL_IDS[0]
        for name in ticked:
            if written.get(name, default) != default:
                self.add_error(
                    "other_aliases",
                    f"“{name}” is ticked above, where it means {default}. Untick it, or remove its line here.",
                )
        together = dict.fromkeys(ticked, default) | written
        if len(together) > ALIASES_LIMIT:
            self.add_error(
                "other_aliases",
                f"A key may have at most {ALIASES_LIMIT} aliases, and here are {len(together)}. Remove some of them.",
            )
        self.cleaned_data["model_aliases"] = together

    def _take_date(self, day: date | None) -> None:
        now = timezone.now()
        if day is None:
            self.add_error("expires_on", "Choose the last day on which the key works.")
        elif day < now.date():
            self.add_error("expires_on", "That day is over. To shut a key now, revoke it.")
        elif day > (now + LONGEST_LIFE).date():
            self.add_error("expires_on", "At most ten years from now, or never.")
        else:
            end = datetime.combine(day, time(23, 59, 59), tzinfo=UTC)
            self.cleaned_data["expires_at"] = end

    def terms(self) -> Terms:
        """What the key may do, for the verbs; only of a valid form."""
        scopes = (self.cleaned_data["access"] or EVERYTHING).split()
        return {
            "may_generate": "generate" in scopes,
            "may_read_usage": "usage.read" in scopes,
            "allowed_networks": self.cleaned_data["allowed_networks"],
            "requests_per_minute": self.cleaned_data["requests_per_minute"],
            "images_per_minute": self.cleaned_data["images_per_minute"],
            "images_in_flight": self.cleaned_data["images_in_flight"],
            "monthly_cap_micros": self.cleaned_data["monthly_cap_micros"],
            "prefers_links": self.cleaned_data["prefers_links"],
            "model_aliases": self.cleaned_data["model_aliases"],
            "nearest_size": self.cleaned_data["nearest_size"],
        }


class KeySettingsForm(KeyForm):
    """The same questions about a key that exists; its expiry stays unless another is chosen."""

    def __init__(self, data: Any = None, *, key: ApiKey) -> None:
        default = aliases.MODEL_IDS[0]
        ticked = [name for name in COMMON_NAMES if key.model_aliases.get(name) == default]
        initial = {
            "name": key.name,
            "expiry": KEEP,
            "expires_at": key.expires_at,
            "expires_on": key.expires_at.date() if key.expires_at else None,
            "access": " ".join(key.scopes),
            "monthly_cap_micros": key.monthly_cap_micros,
            "requests_per_minute": key.requests_per_minute,
            "images_per_minute": key.images_per_minute,
            "images_in_flight": key.images_in_flight,
            "allowed_networks": key.allowed_networks,
            "prefers_links": key.prefers_links,
            "alias_names": ticked,
            "other_aliases": {
                name: model for name, model in key.model_aliases.items() if name not in ticked
            },
            "nearest_size": key.nearest_size,
        }
        super().__init__(data, organization=key.organization, initial=initial)
        expiry = cast("forms.ChoiceField", self.fields["expiry"])
        if key.expires_at:
            as_it_is = dateformat.format(key.expires_at, "j M Y, H:i")
            expiry.choices = [(KEEP, f"{as_it_is} UTC, as it is"), *EXPIRIES]
        else:
            expiry.choices = [(KEEP, "Never, as it is"), *EXPIRIES[1:]]
        # Left out of a request, neither may widen what the key may do.
        expiry.required = self.fields["access"].required = True


class RotationForm(forms.Form):
    """How long the old key works beside the new one."""

    overlap = forms.ChoiceField(
        label="The old key stops working",
        choices=[(value, label) for value, (label, _) in OVERLAPS.items()],
        initial=DEFAULT_OVERLAP,
        widget=forms.RadioSelect,
        error_messages={
            "required": "Choose when the old key stops working.",
            "invalid_choice": "Choose one of the times.",
        },
    )

    @property
    def chosen(self) -> timedelta:
        """The overlap; only of a valid form."""
        return OVERLAPS[self.cleaned_data["overlap"]][1]
