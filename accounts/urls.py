"""Addresses of accounts: sign-up, sign-in and passwords (allauth's views under our paths), and API keys, and reports of leaked ones."""

from allauth.account import views as allauth
from django.urls import path, re_path

from accounts import views

urlpatterns = [
    path("signup", allauth.signup, name="account_signup"),
    path("login", allauth.login, name="account_login"),
    path("logout", allauth.logout, name="account_logout"),
    path("verify-email", allauth.email_verification_sent, name="account_email_verification_sent"),
    path("verify-email/<str:key>", allauth.confirm_email, name="account_confirm_email"),
    path("password/reset", allauth.password_reset, name="account_reset_password"),
    path("password/reset/sent", allauth.password_reset_done, name="account_reset_password_done"),
    # Both parts may hold what `<str:>` takes, so only a pattern tells where the first one ends.
    re_path(
        r"^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>[^/]+)$",
        allauth.password_reset_from_key,
        name="account_reset_password_from_key",
    ),
    path(
        "password/reset/done",
        allauth.password_reset_from_key_done,
        name="account_reset_password_from_key_done",
    ),
    path("account/password", allauth.password_change, name="account_change_password"),
    path("account/password/set", allauth.password_set, name="account_set_password"),
    path("account/email", allauth.email, name="account_email"),
    path("account/inactive", allauth.account_inactive, name="account_inactive"),
    path("account/confirm", allauth.reauthenticate, name="account_reauthenticate"),
    path("dashboard/keys", views.keys, name="keys"),
    path("dashboard/keys/<int:pk>", views.key, name="key"),
    path("dashboard/keys/<int:pk>/rotate", views.rotate_key, name="rotate_key"),
    path("dashboard/keys/<int:pk>/revoke", views.revoke_key, name="revoke_key"),
    path("webhooks/leaked-keys", views.leaked_keys, name="leaked_keys"),
]
