"""Actions that staff take in the admin, where no row can be edited.

Each has a page that says what will happen and, where it gives or stops something, asks why. A POST runs it,
outside of any transaction, and records it in the history of its row.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import quote, unquote
from django.contrib.auth import get_permission_codename
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html_join

from accounts.admin import ReadOnlyAdmin
from accounts.forms import DollarField
from accounts.keys.fields import UncutCharField
from billing.gateway.errors import GatewayError
from billing.refunds import LONGEST_REASON, NotRefundable

MOST_ROWS = 50


class ActionForm(forms.Form):
    """The form of an action that asks for nothing but confirmation; `row` is set where it is about one row."""

    def __init__(self, data: Any = None, *, row: Any = None) -> None:
        super().__init__(data)
        self.row = row


class ReasonForm(ActionForm):
    """The reason for an action."""

    reason = UncutCharField(
        max_length=LONGEST_REASON,
        widget=forms.TextInput(attrs={"class": "vTextField", "autocomplete": "off"}),
        error_messages={"required": "Say why."},
    )


class AmountField(DollarField):
    """An amount in dollars above zero, as micro-dollars once it is valid."""

    def __init__(self) -> None:
        super().__init__(label="Amount in dollars", placeholder="5.00")
        self.error_messages |= {
            "required": "Say how much.",
            "invalid": "Write an amount in dollars, such as 5 or 12.50.",
            "min_value": "The amount must be above zero.",
            "max_value": "At most $1,000,000.",
            "max_decimal_places": "Amounts go down to tenths of a cent, such as 0.005.",
        }

    def clean(self, value: Any) -> Any:
        micros = super().clean(value)
        if micros == 0:
            raise ValidationError(self.error_messages["min_value"])
        return micros


class AmountForm(ReasonForm):
    """An amount, and the reason for it."""

    amount_micros = AmountField()
    field_order = ("amount_micros", "reason")


class ActionRefused(Exception):
    """The action changed nothing of this row; the text says why."""


def _always_available(_row: Any) -> str:
    return ""


@dataclass(frozen=True, kw_only=True)
class AdminAction:
    """An action on a row: the texts of its page, and the function that it runs.

    `explanation` says what will happen; `describe` is a line about the row.
    `run` is called with the row, `by` (an e-mail address) and what the form asked, and yields a sentence for
    each thing that it has done. It may raise ActionRefused, NotRefundable and GatewayError.
    `unavailable_because` says why the action cannot be run on that row; empty where it can.
    `label_for_many` is for the list's menu; without one only the row's own page offers the action.
    An action `without_row` is not about a row (which is None): the list offers it, and pages of rows that need it.
    """

    name: str
    label: str
    explanation: str
    run: Callable[..., Iterator[str]]
    form: type[ActionForm] = ActionForm
    describe: Callable[[Any], str] = str
    unavailable_because: Callable[[Any], str] = _always_available
    label_for_many: str = ""
    without_row: bool = False


class ActionsAdmin(ReadOnlyAdmin):
    """Rows that can be read, and changed only by the actions of `admin_actions`."""

    admin_actions: tuple[AdminAction, ...] = ()

    def has_action_permission(self, request: HttpRequest) -> bool:
        """Whether Django's permission to change the row is granted: it stands for all actions."""
        codename = get_permission_codename("change", self.opts)
        return request.user.has_perm(f"{self.opts.app_label}.{codename}")

    def _allowed(self, request: HttpRequest) -> tuple[AdminAction, ...]:
        return self.admin_actions if self.has_action_permission(request) else ()

    # --- where actions are offered ------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.action_view)
        return [path("act/<slug:name>/", view, name=self._url_name("act")), *super().get_urls()]

    def _url_name(self, page: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{page}"

    def action_url(self, action: AdminAction, rows: Iterable[Any] = ()) -> str:
        """The address of the action's page, for those rows."""
        address = reverse(f"admin:{self._url_name('act')}", args=[action.name])
        asked = urlencode([("pk", row.pk) for row in rows])
        return f"{address}?{asked}" if asked else address

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The row's page, with the actions that are available for it now."""
        row = self.get_object(request, unquote(object_id))
        offered = [
            (action.label, self.action_url(action, [] if action.without_row else [row]))
            for action in self._allowed(request)
            if row and not action.unavailable_because(row)
        ]
        context = {"offered_actions": offered, **(extra_context or {})}
        return super().change_view(request, object_id, form_url, context)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list, with the actions that are about no row."""
        offered = [
            (action.label, self.action_url(action))
            for action in self._allowed(request)
            if action.without_row and not action.unavailable_because(None)
        ]
        return super().changelist_view(
            request, {"offered_actions": offered, **(extra_context or {})}
        )

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """The actions of the list's menu, which are run on the chosen rows."""
        return {
            action.name: (partial(_open_page, action), action.name, action.label_for_many)
            for action in self._allowed(request)
            if action.label_for_many
        }

    # --- an action's page ---------------------------------------------------------------------

    def action_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """Say what will happen; a POST runs the action."""
        action = next((each for each in self.admin_actions if each.name == name), None)
        if action is None:
            raise Http404
        if not self.has_action_permission(request):
            raise PermissionDenied
        rows = [None] if action.without_row else self._rows(request, action)
        reasons = [(row, action.unavailable_because(row)) for row in rows]
        able = [row for row, reason in reasons if not reason]
        skipped = [_about(row, reason) for row, reason in reasons if reason]
        posted = request.POST if request.method == "POST" else None
        form = action.form(posted, row=able[0] if len(able) == 1 else None)
        back = self._page_of(rows)
        if posted is not None and (not able or form.is_valid()):
            told = [(messages.WARNING, sentence) for sentence in skipped]
            for row in able:
                told += self._run(request, action, row, form.cleaned_data)
            _tell(request, told)
            return redirect(back)
        context = {
            **self.admin_site.each_context(request),
            "title": action.label if len(rows) == 1 else action.label_for_many,
            "opts": self.opts,
            "action": action,
            "lines": [] if action.without_row else [action.describe(row) for row in able],
            "skipped": skipped,
            "can_be_done": bool(able),
            "form": form,
            "back": back,
        }
        return TemplateResponse(request, "admin/action.html", context)

    def _rows(self, request: HttpRequest, action: AdminAction) -> list[Model]:
        most = MOST_ROWS if action.label_for_many else 1
        asked = dict.fromkeys(request.GET.getlist("pk"))
        rows = [row for pk in list(asked)[:most] if (row := self.get_object(request, pk))]
        if not rows:
            raise Http404
        return rows

    def _page_of(self, rows: list[Any]) -> str:
        """The page to return to: that of the only row, else the list."""
        if len(rows) == 1 and rows[0]:
            return reverse(f"admin:{self._url_name('change')}", args=[quote(rows[0].pk)])
        return reverse(f"admin:{self._url_name('changelist')}")

    def _run(
        self, request: HttpRequest, action: AdminAction, row: Any, asked: dict[str, Any]
    ) -> list[tuple[int, str]]:
        """Run the action on one row; returns its outcome as (message level, sentence), which the history keeps too."""
        told: list[tuple[int, str]] = []
        try:
            for sentence in action.run(row, by=request.user.get_username(), **asked):
                told.append((messages.SUCCESS, sentence))  # noqa: PERF401 - kept where an error ends it
        except (ActionRefused, NotRefundable) as refusal:
            told.append((messages.WARNING, _about(row, refusal)))
        except GatewayError as error:
            told.append((messages.ERROR, _about(row, f"Nothing is lost; try again. {error}")))
        because = f" ({asked['reason']})" if "reason" in asked else ""
        LogEntry.objects.create(
            user_id=str(request.user.pk),
            content_type=ContentType.objects.get_for_model(self.model),
            object_id=row.pk if row else None,
            object_repr=str(row or self.opts.verbose_name_plural)[:200],
            action_flag=CHANGE,
            change_message=f"{action.label}{because}: {' '.join(sentence for _, sentence in told)}",
        )
        return told


def _about(row: Any, text: object) -> str:
    return f"{row}: {text}" if row else str(text)


def _tell(request: HttpRequest, told: list[tuple[int, str]]) -> None:
    """Show one message for each level."""
    for level in sorted({level for level, _ in told}):
        lines = ([sentence] for each, sentence in told if each == level)
        messages.add_message(request, level, format_html_join("", "<div>{}</div>", lines))


def _open_page(
    action: AdminAction, page: ActionsAdmin, request: HttpRequest, chosen: QuerySet[Model]
) -> HttpResponse | None:
    """Redirect from the list's menu to the page of the action."""
    if chosen.count() > MOST_ROWS:
        page.message_user(request, f"Choose at most {MOST_ROWS} rows at once.", messages.ERROR)
        return None
    return redirect(page.action_url(action, chosen))
