"""The pages after a mail was written to somebody who is not signed in: they say what to do, and offer to send it again.

They say the same whether or not the address has an account, and whether or not a mail was sent.
"""

from typing import Any

from allauth.account import views as allauth
from allauth.account.internal.flows.email_verification import send_verification_email_at_login
from allauth.account.stages import EmailVerificationStage, LoginStageController
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

ON_ITS_WAY = "A new email is on its way, unless we sent you one within the last minute or several in the last few hours."
SIGN_IN_FIRST = "Sign in to get a new link."
RESET_ADDRESS = "reset_address"
# A session that holds nothing else.
RESET_ADDRESS_SECONDS = 3_600


def _login_that_waits(request: HttpRequest) -> Any:
    """The sign-in of this browser that waits for the link; None where there is none, or after a quarter of an hour.

    For an address that has an account already, it is one of nobody.
    """
    stage = LoginStageController.enter(request, EmailVerificationStage.key)
    return stage.login if stage else None


class VerificationSentView(allauth.EmailVerificationSentView):  # type: ignore[misc]  # allauth has no types
    """After a sign-up, and after a sign-in before the address is verified."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(**kwargs)
        return context | {"can_send_again": _login_that_waits(self.request) is not None}

    def post(self, request: HttpRequest) -> HttpResponse:
        """Send it again, if the mailbox has not had enough of them."""
        login = _login_that_waits(request)
        if login is None:
            messages.info(request, SIGN_IN_FIRST)
            return redirect("account_login")
        send_verification_email_at_login(request, login)
        messages.info(request, ON_ITS_WAY)
        return redirect("account_email_verification_sent")


class ResetView(allauth.PasswordResetView):  # type: ignore[misc]
    """Asks for the address; the session keeps it for the next page."""

    def form_valid(self, form: Any) -> HttpResponse:
        """Send the link, and say so where it is the second one."""
        response: HttpResponse = super().form_valid(form)
        session, email = self.request.session, form.cleaned_data["email"]
        if session.get(RESET_ADDRESS) == email:
            messages.info(self.request, ON_ITS_WAY)
        elif session.is_empty():
            session.set_expiry(RESET_ADDRESS_SECONDS)
        session[RESET_ADDRESS] = email
        return response


class ResetSentView(allauth.PasswordResetDoneView):  # type: ignore[misc]
    """After the form for a new password."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(**kwargs)
        return context | {"address": self.request.session.get(RESET_ADDRESS, "")}
