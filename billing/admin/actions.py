"""What staff may do in the admin, though no page can be edited: acts.

Each has a page that says what will happen and, where it gives or stops something, asks why. It is done by
POST, outside of any transaction, and stands in the history of its row.
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
from billing.gateway.errors import GatewayError
from billing.refunds import LONGEST_REASON, NotRefundable

MOST_ROWS = 50


class ActionForm(forms.Form):
    """What an act asks: nothing but to be confirmed. Where it is about one row, the form knows it."""

    def __init__(self, data: Any = None, *, row: Any = None) -> None:
        super().__init__(data)
        self.row = row


class ReasonForm(ActionForm):
    """Why."""

    reason = forms.CharField(
        max_length=LONGEST_REASON,
        widget=forms.TextInput(attrs={"class": "vTextField", "autocomplete": "off"}),
        error_messages={"required": "Say why."},
    )


class AmountField(DollarField):
    """Dollars to be given."""

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
    """How much, and why."""

    amount_micros = AmountField()
    field_order = ("amount_micros", "reason")


class NotDone(Exception):
    """Nothing happened with this row; the text says why."""


def _never(_row: Any) -> str:
    return ""


@dataclass(frozen=True, kw_only=True)
class AdminAction:
    """One thing that may be done with a row: how its page reads, and the verb behind it.

    `explanation` says what will happen; `describe` is a line about the row.
    `do` is called with the row, `by` (an e-mail address) and what the form asked, and yields a sentence for
    each thing that it has done. It may raise NotDone, NotRefundable and GatewayError.
    `why_not` says why it cannot be done with that row, and nothing where it can.
    `label_of_several` is for the list's menu; without one it is done from the row's own page alone.
    What is `of_everything` is not about a row (which is None): the list offers it, and pages of rows that need it.
    """

    name: str
    label: str
    explanation: str
    do: Callable[..., Iterator[str]]
    form: type[ActionForm] = ActionForm
    describe: Callable[[Any], str] = str
    why_not: Callable[[Any], str] = _never
    label_of_several: str = ""
    of_everything: bool = False


class ActionsAdmin(ReadOnlyAdmin):
    """Rows that can be looked at, and acted upon by the verbs of `acts`."""

    acts: tuple[AdminAction, ...] = ()

    def has_action_permission(self, request: HttpRequest) -> bool:
        """Those who could change the row, were it to be changed."""
        codename = get_permission_codename("change", self.opts)
        return request.user.has_perm(f"{self.opts.app_label}.{codename}")

    def _allowed(self, request: HttpRequest) -> tuple[AdminAction, ...]:
        return self.acts if self.has_action_permission(request) else ()

    # --- where acts are offered ---------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.act_view)
        return [path("act/<slug:name>/", view, name=self._url_name("act")), *super().get_urls()]

    def _url_name(self, page: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{page}"

    def act_url(self, act: AdminAction, rows: Iterable[Any] = ()) -> str:
        """Its page."""
        address = reverse(f"admin:{self._url_name('act')}", args=[act.name])
        asked = urlencode([("pk", row.pk) for row in rows])
        return f"{address}?{asked}" if asked else address

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The row's page, with what can be done with it now."""
        row = self.get_object(request, unquote(object_id))
        offered = [
            (act.label, self.act_url(act, [] if act.of_everything else [row]))
            for act in self._allowed(request)
            if row and not act.why_not(row)
        ]
        context = {"acts": offered, **(extra_context or {})}
        return super().change_view(request, object_id, form_url, context)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list, with what can be done about all of it."""
        offered = [
            (act.label, self.act_url(act))
            for act in self._allowed(request)
            if act.of_everything and not act.why_not(None)
        ]
        return super().changelist_view(request, {"acts": offered, **(extra_context or {})})

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """The list's menu."""
        return {
            act.name: (partial(_choose, act), act.name, act.label_of_several)
            for act in self._allowed(request)
            if act.label_of_several
        }

    # --- an act's page ------------------------------------------------------------------------

    def act_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """Say what will happen; do it by POST."""
        act = next((each for each in self.acts if each.name == name), None)
        if act is None:
            raise Http404
        if not self.has_action_permission(request):
            raise PermissionDenied
        rows = [None] if act.of_everything else self._rows(request, act)
        judged = [(row, act.why_not(row)) for row in rows]
        able = [row for row, why_not in judged if not why_not]
        skipped = [(row, why_not) for row, why_not in judged if why_not]
        posted = request.POST if request.method == "POST" else None
        form = act.form(posted, row=able[0] if len(able) == 1 else None)
        back = self._page_of(rows)
        if posted is not None and (not able or form.is_valid()):
            told = [(messages.WARNING, _about(row, why_not)) for row, why_not in skipped]
            for row in able:
                told += self._carry_out(request, act, row, form.cleaned_data)
            _tell(request, told)
            return redirect(back)
        context = {
            **self.admin_site.each_context(request),
            "title": act.label if len(rows) == 1 else act.label_of_several,
            "opts": self.opts,
            "act": act,
            "lines": [] if act.of_everything else [act.describe(row) for row in able],
            "skipped": [_about(row, why_not) for row, why_not in skipped],
            "can_be_done": bool(able),
            "form": form,
            "back": back,
        }
        return TemplateResponse(request, "admin/act.html", context)

    def _rows(self, request: HttpRequest, act: AdminAction) -> list[Model]:
        most = MOST_ROWS if act.label_of_several else 1
        asked = dict.fromkeys(request.GET.getlist("pk"))
        rows = [row for pk in list(asked)[:most] if (row := self.get_object(request, pk))]
        if not rows:
            raise Http404
        return rows

    def _page_of(self, rows: list[Any]) -> str:
        """Where to go afterwards."""
        if len(rows) == 1 and rows[0]:
            return reverse(f"admin:{self._url_name('change')}", args=[quote(rows[0].pk)])
        return reverse(f"admin:{self._url_name('changelist')}")

    def _carry_out(
        self, request: HttpRequest, act: AdminAction, row: Any, asked: dict[str, Any]
    ) -> list[tuple[int, str]]:
        """Do it with one row; what came of it, for the messages and for the row's history."""
        told: list[tuple[int, str]] = []
        try:
            for sentence in act.do(row, by=request.user.get_username(), **asked):
                told.append((messages.SUCCESS, sentence))  # noqa: PERF401 - kept where an error ends it
        except (NotDone, NotRefundable) as why:
            told.append((messages.WARNING, _about(row, why)))
        except GatewayError as error:
            told.append((messages.ERROR, _about(row, f"Nothing is lost; try again. {error}")))
        because = f" ({asked['reason']})" if "reason" in asked else ""
        LogEntry.objects.create(
            user_id=str(request.user.pk),
            content_type=ContentType.objects.get_for_model(self.model),
            object_id=row.pk if row else None,
            object_repr=str(row or self.opts.verbose_name_plural)[:200],
            action_flag=CHANGE,
            change_message=f"{act.label}{because}: {' '.join(sentence for _, sentence in told)}",
        )
        return told


def _about(row: Any, said: object) -> str:
    return f"{row}: {said}" if row else str(said)


def _tell(request: HttpRequest, told: list[tuple[int, str]]) -> None:
    """One message for each level."""
    for level in sorted({level for level, _ in told}):
        lines = ([sentence] for each, sentence in told if each == level)
        messages.add_message(request, level, format_html_join("", "<div>{}</div>", lines))


def _choose(
    act: AdminAction, page: ActionsAdmin, request: HttpRequest, chosen: QuerySet[Model]
) -> HttpResponse | None:
    """From the list to the page of the act."""
    if chosen.count() > MOST_ROWS:
        page.message_user(request, f"Choose at most {MOST_ROWS} rows at once.", messages.ERROR)
        return None
    return redirect(page.act_url(act, chosen))
