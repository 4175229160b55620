"""Dictionaries of Django, allauth and Celery: database, storages, forms, broker and content security policy."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from csp.constants import NONE, SELF


def database(found: dict[str, Any], *, sqlite_file: Path, pool_size: int) -> dict[str, Any]:
    """The settings of the default database: `found` as DATABASE_URL names it, or SQLite in that file."""
    if found.get("ENGINE") == "django.db.backends.postgresql":
        # A thread that waits holds no connection, so the pool need not match the threads. A burst of calls
        # waits for its turn: with 10 s, 9 of 500 at once were told that the database is away.
        pool = {"min_size": 0, "max_size": pool_size, "timeout": 30}
        return found | {"OPTIONS": found.get("OPTIONS", {}) | {"pool": pool}}
    options = {
        # Taking the write lock at BEGIN queues writers instead of failing them half-way.
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
    return {"NAME": str(sqlite_file)} | found | {"ENGINE": "ecohash.sqlite", "OPTIONS": options}


def static_files(*, production: bool) -> dict[str, Any]:
    """Production serves files by their digest, which it collected; elsewhere finders serve the sources."""
    return {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if production
        else "django.contrib.staticfiles.storage.StaticFilesStorage",
    }


def folder(path: Path) -> dict[str, Any]:
    """A storage in a folder of this machine."""
    return {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(path), "allow_overwrite": True},
    }


def account_forms() -> dict[str, str]:
    """Allauth's forms, each with the limits of ours."""
    forms = {
        "login": "LoginForm",
        "signup": "SignupForm",
        "add_email": "AddEmailForm",
        "change_password": "ChangePasswordForm",
        "set_password": "SetPasswordForm",
        "reset_password": "ResetPasswordForm",
        "reset_password_from_key": "ResetPasswordKeyForm",
        "user_token": "UserTokenForm",
        "reauthenticate": "ReauthenticateForm",
    }
    return {name: f"accounts.sign_in.form_limits.{form}" for name, form in forms.items()}


def broker_options(url: str, *, task_seconds: int) -> dict[str, Any]:
    """Celery's options of a Redis broker; RabbitMQ needs none."""
    if url.startswith(("amqp", "pyamqp")):
        return {}
    return {
        # Twice the longest task, so that no task is delivered again while it still runs.
        "visibility_timeout": 2 * task_seconds,
        "unacked_restore_interval": 5,
        # A web process must not hang on a broker that is away: a lost message is sent again.
        "socket_timeout": 5,
        "socket_connect_timeout": 2,
        # One more try at once, in place of six seconds with pauses: a caller waits for each message.
        "max_retries": 1,
        "interval_start": 0,
    }


def content_security_policy(*, links_origin: str, forms_lead_to: Collection[str]) -> dict[str, Any]:
    """django-csp's settings: everything comes from this site, except images from where links lead."""
    return {
        # Programs read these, not browsers.
        "EXCLUDE_URL_PREFIXES": ["/v1", "/i/"],
        "DIRECTIVES": {
            "default-src": [SELF],
            # data: for Django's own admin icons; the hosted links may answer with a redirect to S3.
            "img-src": [SELF, "data:", *filter(None, [links_origin])],
            "object-src": [NONE],
            "base-uri": [SELF],
            "form-action": [SELF, *forms_lead_to],
            "frame-ancestors": [NONE],
        },
    }
