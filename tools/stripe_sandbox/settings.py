"""What the server reads from its environment. It has no database of Django's, no sessions and no users."""

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

allowed = os.environ.get("ALLOWED_STAND_INS", "").lower().replace(",", " ").split()
if os.environ.get("ECOHASH_ENV") == "production" and "stripe" not in allowed:
    message = (
        "The Stripe sandbox does not run in production: it takes no real money. Set STRIPE_SECRET_KEY "
        "to a key of Stripe's and unset STRIPE_API_BASE, or add stripe to ALLOWED_STAND_INS."
    )
    raise ImproperlyConfigured(message)

STRIPE_SANDBOX_PORT = int(os.environ.get("STRIPE_SANDBOX_PORT") or "12111")
# The one key that is accepted, and the secret that signs events.
STRIPE_SECRET_KEY = os.environ.get("STRIPE_SECRET_KEY") or "sk_test_sandbox"
STRIPE_WEBHOOK_SECRET = os.environ.get("STRIPE_WEBHOOK_SECRET") or "whsec_sandbox"
# Where events go; without it they are only kept.
STRIPE_SANDBOX_WEBHOOK_URL = os.environ.get("STRIPE_SANDBOX_WEBHOOK_URL", "")
# How long an invoice stays a draft, which still takes in usage of its period. Stripe: about an hour.
STRIPE_SANDBOX_DRAFT_SECONDS = float(os.environ.get("STRIPE_SANDBOX_DRAFT_SECONDS") or "5")
# How old a meter event must be to show in a summary. Stripe's summaries are eventually consistent.
STRIPE_SANDBOX_SUMMARY_LAG_SECONDS = float(
    os.environ.get("STRIPE_SANDBOX_SUMMARY_LAG_SECONDS") or "0"
)
VAR_DIR = Path(os.environ.get("VAR_DIR") or "var").resolve()
STATE_FILE = VAR_DIR / "stripe-sandbox.sqlite3"
BASE_URL = f"http://127.0.0.1:{STRIPE_SANDBOX_PORT}"

DEBUG = False
# Nothing is signed with it: there are no sessions, no messages and no CSRF cookie.
SECRET_KEY = "the sandbox signs nothing with this"  # noqa: S105
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]
ROOT_URLCONF = "tools.stripe_sandbox.urls"
WSGI_APPLICATION = "tools.stripe_sandbox.wsgi.application"
INSTALLED_APPS: list[str] = []
DATABASES: dict[str, dict[str, str]] = {}
MIDDLEWARE = ["tools.stripe_sandbox.safety.SafetyMiddleware"]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).parent / "templates"],
        "OPTIONS": {"builtins": ["tools.stripe_sandbox.pages.formats"]},
    },
]
USE_TZ = True
TIME_ZONE = "UTC"
APPEND_SLASH = False
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2_000

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        # A 500 without a cause was ordered; see `faults`.
        "unexpected": {
            "()": "django.utils.log.CallbackFilter",
            "callback": lambda record: bool(record.exc_info),
        },
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {"django.request": {"level": "ERROR", "filters": ["unexpected"]}},
}
