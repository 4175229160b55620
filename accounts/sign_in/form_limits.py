"""The forms of sign-up and sign-in, which are allauth's, with a maximum length for each text."""

from typing import Any

from allauth.account import forms as allauth
from django import forms
from django.core.validators import MaxLengthValidator

from accounts.models import EMAIL_LIMIT

# Of a password, and of the parts of a link; no other text is asked for.
TEXT_LIMIT = 1_024
TOO_LONG = "At most %(limit_value)d characters; this has %(show_value)d."


class MaxEmailLengthValidator(MaxLengthValidator):
    """Counts the address as it is stored, in lower case: `İ` becomes two characters, and allauth cuts at the column."""

    def clean(self, x: Any) -> Any:
        return len(x.lower())


class LimitedForm(forms.Form):
    """Text of limited length: allauth sets no limits, and hashes and shows again whatever comes.

    Without `maxlength`: browsers cut what is pasted there, and say nothing.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for field in self.fields.values():
            if isinstance(field, forms.CharField):
                is_email = isinstance(field, forms.EmailField)
                limit = EMAIL_LIMIT if is_email else TEXT_LIMIT
                validator = MaxEmailLengthValidator if is_email else MaxLengthValidator
                field.max_length = limit
                field.widget.attrs.pop("maxlength", None)
                field.validators = [
                    each for each in field.validators if not isinstance(each, MaxLengthValidator)
                ]
                field.validators.append(validator(limit, TOO_LONG))


class LoginForm(LimitedForm, allauth.LoginForm):  # type: ignore[misc]  # allauth has no types
    """An address and a password."""


class SignupForm(LimitedForm, allauth.SignupForm):  # type: ignore[misc]
    """An address and a password for a new account."""


class AddEmailForm(LimitedForm, allauth.AddEmailForm):  # type: ignore[misc]
    """Another address of the same person."""


class ChangePasswordForm(LimitedForm, allauth.ChangePasswordForm):  # type: ignore[misc]
    """The old password and a new one."""


class SetPasswordForm(LimitedForm, allauth.SetPasswordForm):  # type: ignore[misc]
    """The first password of an account that has none."""


class ResetPasswordForm(LimitedForm, allauth.ResetPasswordForm):  # type: ignore[misc]
    """The address that the link is sent to."""


class ResetPasswordKeyForm(LimitedForm, allauth.ResetPasswordKeyForm):  # type: ignore[misc]
    """A new password, behind the link."""


class UserTokenForm(LimitedForm, allauth.UserTokenForm):  # type: ignore[misc]
    """The user and the token in the link of a mail."""


class ReauthenticateForm(LimitedForm, allauth.ReauthenticateForm):  # type: ignore[misc]
    """The password once more."""
