"""Addresses of accounts: sign-up, sign-in and passwords (allauth's views under our paths), and API keys."""

from allauth.account import views as allauth
from django.urls import path, re_path

from accounts import views
from accounts.sign_in import check_inbox, page_limits
from accounts.sign_in.page_limits import limited, remembers_device

urlpatterns = [
    path("signup", limited(allauth.signup, page_limits.sign_up), name="account_signup"),
    path("login", limited(allauth.login, page_limits.SIGN_IN), name="account_login"),
    path("logout", allauth.logout, name="account_logout"),
    path(
        "verify-email",
        limited(check_inbox.VerificationSentView.as_view(), page_limits.SEND_AGAIN),
        name="account_email_verification_sent",
    ),
    path("verify-email/<str:key>", allauth.confirm_email, name="account_confirm_email"),
    path(
        "password/reset",
        limited(check_inbox.ResetView.as_view(), page_limits.RESET),
        name="account_reset_password",
    ),
    path(
        "password/reset/sent",
        check_inbox.ResetSentView.as_view(),
        name="account_reset_password_done",
    ),
    # Both parts may hold what `<str:>` takes, so only a pattern tells where the first one ends.
    re_path(
        r"^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>[^/]+)$",
        limited(allauth.password_reset_from_key, page_limits.RESET_FROM_KEY),
        name="account_reset_password_from_key",
    ),
    path(
        "password/reset/done",
        allauth.password_reset_from_key_done,
        name="account_reset_password_from_key_done",
    ),
    path(
        "account/password",
        remembers_device(limited(allauth.password_change, page_limits.CHANGE_PASSWORD)),
        name="account_change_password",
    ),
    path(
        "account/password/set",
        remembers_device(limited(allauth.password_set, page_limits.CHANGE_PASSWORD)),
        name="account_set_password",
    ),
    path("account/email", limited(allauth.email, page_limits.MANAGE_EMAIL), name="account_email"),
    path("account/inactive", allauth.account_inactive, name="account_inactive"),
    path(
        "account/confirm",
        limited(allauth.reauthenticate, page_limits.CONFIRM),
        name="account_reauthenticate",
    ),
    path("dashboard/keys", views.keys, name="keys"),
    path("dashboard/keys/<int:pk>", views.key, name="key"),
    path("dashboard/keys/<int:pk>/rotate", views.rotate_key, name="rotate_key"),
    path("dashboard/keys/<int:pk>/revoke", views.revoke_key, name="revoke_key"),
]
