"""Every setting, grouped by feature, read once: the environment first, then `.env`, then a safe default.

Each name is explained in `.env.example`. An empty value counts as unset.
"""

import resource
from pathlib import Path
from urllib.parse import urlsplit

import environ

from ecohash.background import beat_schedule
from ecohash.configuration import (
    backends,
    development,
    environment,
    logs,
    object_store,
    production,
    retention,
    spending,
)
from ecohash.configuration.environment import (
    HIGHEST_PORT,
    address,
    choice,
    folder,
    hosts,
    mistakes,
    names,
    number,
    seconds,
    setting,
    switch,
)
from ecohash.configuration.mail_servers import mail_server

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
environment.read_env_file(BASE_DIR / ".env")

# --- where and how it runs ------------------------------------------------------------------------

ECOHASH_ENV = choice("ECOHASH_ENV", "development", ("development", "production"))
# At once, so that a mistyped "production" does not run as a development machine.
environment.raise_mistakes("EcoHash will not start:")
PRODUCTION = ECOHASH_ENV == "production"
DEBUG = switch("DEBUG")
VAR_DIR = folder("VAR_DIR", BASE_DIR / "var")
PORT = number("PORT", 8000, most=HIGHEST_PORT)
BASE_URL = address("BASE_URL", f"http://127.0.0.1:{PORT}", schemes=("https", "http"), bare=True)
WEB_CONCURRENCY = number("WEB_CONCURRENCY", 2, most=512)
GPU_WORKERS = number("GPU_WORKERS", 1, least=0, most=64)
TRUSTED_PROXIES = number("TRUSTED_PROXIES", 0, least=0, most=10)
# Stand-ins that production may use; development may use all.
ALLOWED_STAND_INS = names("ALLOWED_STAND_INS", production.NAMES)

# --- secrets --------------------------------------------------------------------------------------

DATABASE_URL = setting("DATABASE_URL")
SECRET_KEY = setting("SECRET_KEY")
key_pepper = setting("KEY_PEPPER")
STAND_INS = production.stand_ins(setting, allowed=ALLOWED_STAND_INS)
if PRODUCTION:
    mistakes += [str(one) for one in STAND_INS if one.name not in ALLOWED_STAND_INS]
    STAND_INS = [one for one in STAND_INS if one.name in ALLOWED_STAND_INS]
standing_in = {one.name for one in STAND_INS}


def stored_secret(name: str) -> str:
    """That secret of this machine; the first one that cannot be had says why for all."""
    try:
        if not any(mistake.startswith("VAR_DIR ") for mistake in mistakes):
            return development.stored_secret(VAR_DIR, name)
    except OSError as error:
        mistakes.append(development.var_dir_problem(error))
    return ""


if "secrets" in standing_in:
    SECRET_KEY = SECRET_KEY or stored_secret("SECRET_KEY")
    key_pepper = key_pepper or stored_secret("KEY_PEPPER")
try:
    KEY_PEPPERS = production.parse_peppers(key_pepper)
except ValueError as error:
    mistakes.append(f"KEY_PEPPER {error}")

# --- payment: Stripe, or until a key is set our own small server of the same form -------------------

STRIPE_SECRET_KEY = setting("STRIPE_SECRET_KEY")
STRIPE_API_BASE = setting("STRIPE_API_BASE").rstrip("/")
STRIPE_WEBHOOK_SECRET = setting("STRIPE_WEBHOOK_SECRET")
# Far enough from PORT that a second installation on the next port finds both of its own free.
STRIPE_SANDBOX_PORT = number(
    "STRIPE_SANDBOX_PORT",
    PORT + 100 if PORT + 100 <= HIGHEST_PORT else PORT - 100,
    most=HIGHEST_PORT,
)
STRIPE_SANDBOX = "stripe" in standing_in
if STRIPE_SANDBOX:
    STRIPE_API_BASE = f"http://127.0.0.1:{STRIPE_SANDBOX_PORT}"
    STRIPE_SECRET_KEY = f"sk_test_sandbox_{stored_secret('STRIPE_SECRET_KEY')}"
    STRIPE_WEBHOOK_SECRET = f"whsec_{stored_secret('STRIPE_WEBHOOK_SECRET')}"
STRIPE_THIN_WEBHOOK_SECRET = setting("STRIPE_THIN_WEBHOOK_SECRET", STRIPE_WEBHOOK_SECRET)
# Where Stripe's own pages live, to which forms of ours lead.
STRIPE_PAGES = (
    [STRIPE_API_BASE]
    if STRIPE_API_BASE
    else ["https://checkout.stripe.com", "https://billing.stripe.com"]
)

# --- apps and pages -------------------------------------------------------------------------------

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "rest_framework",
    "allauth",
    "allauth.account",
    "csp",
    "accounts",
    "billing",
    "images",
    "inference",
    "ecohash",
]
MIDDLEWARE = [
    "ecohash.web.middleware.RequestMiddleware",
    "ecohash.web.bodies.BodyMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "ecohash.web.hosts.HostMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.access.PageSignInMiddleware",
    "accounts.access.OrganizationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]
ROOT_URLCONF = "ecohash.urls"
WSGI_APPLICATION = "ecohash.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "accounts.permissions.template_context",
                "ecohash.pages.public.site",
            ],
        },
    },
]
LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "/static/"
# Only production collects; elsewhere the finders below serve straight from the source folders.
STATIC_ROOT = VAR_DIR / "static" if PRODUCTION else None

WHITENOISE_USE_FINDERS = not PRODUCTION
WHITENOISE_AUTOREFRESH = DEBUG

more_hosts = hosts("ALLOWED_HOSTS")
ALLOWED_HOSTS = [environment.host_of(BASE_URL), *more_hosts]
if not PRODUCTION:
    ALLOWED_HOSTS += development.HOSTS
CSRF_TRUSTED_ORIGINS = [environment.origin_of(BASE_URL)]
CSRF_FAILURE_VIEW = "ecohash.errors.csrf_failure"
if BASE_URL.startswith("https://"):
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    SECURE_HSTS_SECONDS = 31_536_000
    if TRUSTED_PROXIES:
        SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# --- forms: none of ours is larger, or takes a file -------------------------------------------------

DATA_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 200  # of a query too
FILE_UPLOAD_HANDLERS = ["ecohash.web.uploads.NoFiles"]

# --- database: it decides; everything else carries hints ------------------------------------------

DATABASES = {
    "default": backends.database(
        environment.database("DATABASE_URL") if DATABASE_URL else {},
        sqlite_file=VAR_DIR / "ecohash.sqlite3",
        pool_size=number("DATABASE_POOL_SIZE", 20, most=10_000),
    )
}
# Of SQLite only. 0: none is made but by hand, and none is removed.
BACKUP_DAYS = number("BACKUP_DAYS", 7, least=0, most=10_000)
KEPT_DAYS = retention.kept_days()
CLOSE_MONTHS_AFTER_DAYS = number("CLOSE_MONTHS_AFTER_DAYS", 5, least=1, most=10_000)

# --- accounts -------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "dashboard"
ACCOUNT_ADAPTER = "ecohash.signup.AccountAdapter"
ACCOUNT_FORMS = backends.account_forms()
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_LOGIN_ON_EMAIL_CONFIRMATION = True
# The link in the mail signs in an owner whose account is locked because others guess at it.
ACCOUNT_LOGIN_ON_PASSWORD_RESET = True
# allauth's limits read and write Django's cache, which is the memory of one process here. Ours count
# in Redis, each in one step: accounts/sign_in/page_limits.py, attempts.py and mailboxes.py.
ACCOUNT_RATE_LIMITS = False
SIGN_UPS_PER_ADDRESS_PER_HOUR = number("SIGN_UPS_PER_ADDRESS_PER_HOUR", 20, least=1)
# Not before the link in the mail has run out, after three days.
UNVERIFIED_ACCOUNT_DAYS = number("UNVERIFIED_ACCOUNT_DAYS", 7, least=4)
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_LOGOUT_REDIRECT_URL = "/"
ACCOUNT_DEFAULT_HTTP_PROTOCOL = urlsplit(BASE_URL).scheme
API_KEYS_PER_ORGANIZATION = number("API_KEYS_PER_ORGANIZATION", 100)
# A file of the keys that sign reports of leaked keys; unset, none is accepted.
LEAK_REPORT_PUBLIC_KEYS = setting("LEAK_REPORT_PUBLIC_KEYS")

# --- mail -----------------------------------------------------------------------------------------

DEFAULT_FROM_EMAIL = setting(
    "DEFAULT_FROM_EMAIL",
    f"EcoHash <hello@{urlsplit(BASE_URL).hostname if PRODUCTION else 'localhost'}>",
)
EMAIL_BACKEND = "ecohash.mail.FolderBackend"
if MAIL_SERVER := mail_server("EMAIL_URL"):
    EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    EMAIL_HOST, EMAIL_PORT = MAIL_SERVER.host, MAIL_SERVER.port
    EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = MAIL_SERVER.user, MAIL_SERVER.password
    EMAIL_USE_TLS, EMAIL_USE_SSL = MAIL_SERVER.starttls, MAIL_SERVER.implicit_tls
# For the connection, and for each answer.
EMAIL_TIMEOUT = 10

# --- Redis and Celery: notifications and wake-ups -------------------------------------------------

REDIS_SOCKET = development.socket_path(VAR_DIR, "redis.sock")
REDIS_URL = address("REDIS_URL", f"unix://{REDIS_SOCKET}", schemes=("redis", "rediss", "unix"))
CELERY_BROKER_URL = address(
    "CELERY_BROKER_URL",
    REDIS_URL.replace("unix://", "redis+socket://"),
    schemes=("redis", "rediss", "redis+socket", "amqp", "amqps", "pyamqp"),
)
DEFAULT_QUEUE_TASK_SECONDS = 60
CELERY_TASK_DEFAULT_QUEUE = "default"
# Tasks that wait for Stripe or the mail server have a worker of their own: a slow answer delays no sweep or reaper.
CELERY_TASK_ROUTES = {
    "billing.stripe.*": {"queue": "stripe"},
    "billing.mail.*": {"queue": "stripe"},
    # They may take long.
    "ecohash.books.*": {"queue": "books"},
}
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_TIME_LIMIT = DEFAULT_QUEUE_TASK_SECONDS
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = DEFAULT_QUEUE_TASK_SECONDS + 5
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_REDIRECT_STDOUTS = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# A worker outlives any outage of its broker, a Redis that is read-only for a while too.
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
CELERY_BROKER_TRANSPORT_OPTIONS = backends.broker_options(
    CELERY_BROKER_URL, task_seconds=DEFAULT_QUEUE_TASK_SECONDS
)
CELERY_BEAT_SCHEDULER = "ecohash.background.beat:Scheduler"
CELERY_BEAT_SCHEDULE_FILENAME = str(VAR_DIR / "celerybeat-schedule")
CELERY_BEAT_SCHEDULE = beat_schedule.schedule(
    seal_seconds=number("USAGE_SEAL_SECONDS", 60, most=3_600)
)

# --- images ---------------------------------------------------------------------------------------

REQUEST_DEADLINE_SECONDS = 90
IMAGE_TIMEOUT_SECONDS = number("IMAGE_TIMEOUT_SECONDS", 30, most=3_600)
IMAGE_LIFETIME_SECONDS = 24 * 3600
BODY_LIMIT_BYTES = 1024 * 1024
# A file of refused terms; unset means the short list beside images/jobs/moderation.py.
MODERATION_TERMS = setting("MODERATION_TERMS")
# Twice this, for a second try, is still well within REQUEST_DEADLINE_SECONDS.
STORAGE_TIMEOUT_SECONDS = number("STORAGE_TIMEOUT_SECONDS", 15, least=2, most=30)
OBJECT_STORE = object_store.read()
S3_BUCKET, S3_LINKS = OBJECT_STORE.bucket, OBJECT_STORE.links
mistakes += OBJECT_STORE.problems()
STORAGES = {
    "staticfiles": backends.static_files(production=PRODUCTION),
    "images": OBJECT_STORE.storage(timeout_seconds=STORAGE_TIMEOUT_SECONDS)
    if S3_BUCKET
    else backends.folder(VAR_DIR / "images"),
}
# A form may end at Stripe: browsers hold the redirect against this list too.
CONTENT_SECURITY_POLICY = backends.content_security_policy(
    links_origin="" if mistakes else OBJECT_STORE.links_origin, forms_lead_to=STRIPE_PAGES
)

# --- inference ------------------------------------------------------------------------------------

INFERENCE_ENGINE = setting("INFERENCE_ENGINE", "flux")
FLUX_MODEL = setting("FLUX_MODEL")
BLANK_ENGINE_SECONDS = seconds("BLANK_ENGINE_SECONDS", 0, most=3_600)

# --- limits: of an organization that has none of its own; a minute's worth may come at once ---------

REQUESTS_PER_MINUTE = number("REQUESTS_PER_MINUTE", 600)
IMAGES_PER_MINUTE = number("IMAGES_PER_MINUTE", 300)
IMAGES_IN_FLIGHT = number("IMAGES_IN_FLIGHT", 64)
# Of one address, so that guessing keys is slow; a key that works is never refused for it.
FAILED_AUTHENTICATIONS_PER_MINUTE = 300

# --- billing --------------------------------------------------------------------------------------

TRIAL_CREDIT_MICROS = number("TRIAL_CREDIT_MICROS", 25 * 20_000, least=0, most=10**12)
TRIAL_ONE_PER_MAILBOX = switch("TRIAL_ONE_PER_MAILBOX", default="true")
TRIAL_CREDITS_PER_ADDRESS_PER_DAY = number("TRIAL_CREDITS_PER_ADDRESS_PER_DAY", 10, least=0)
TRIAL_CREDITS_PER_NETWORK_PER_DAY = number("TRIAL_CREDITS_PER_NETWORK_PER_DAY", 40, least=0)
SPENDING = spending.read()

# --- the API --------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["accounts.keys.authentication.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": [],
    "EXCEPTION_HANDLER": "ecohash.errors.api_exception_handler",
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,
}

# --- threads: one waits for each request in flight -------------------------------------------------

OPEN_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
# Kept free of waiting callers, so that pages and health answer however long the queue is.
PAGE_THREADS = 64
# A waiting caller costs one socket; reading its picture costs a second file for a moment.
WAITING_LIMIT = max(64, min(2_000, (OPEN_FILES - 256) // 2 - PAGE_THREADS))
# Of one address in one web process, not counting those whose request is in flight. A browser opens six.
CONNECTIONS_PER_ADDRESS = number("CONNECTIONS_PER_ADDRESS", 256, least=8)
# Longer than proxies usually keep an idle connection (60 s); docs/proxies.md names others.
KEEPALIVE_SECONDS = number("KEEPALIVE_SECONDS", 75, most=3_600)

# --- logs: JSON, with the request id; never a key, a prompt or a signature -------------------------

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LOGGING_CONFIG = "ecohash.configuration.logs.configure"
LOGGING = logs.dict_config(level=choice("LOG_LEVEL", "INFO", LOG_LEVELS))

# --- all of it together ----------------------------------------------------------------------------

if STRIPE_SANDBOX_PORT == PORT:
    mistakes.append("STRIPE_SANDBOX_PORT must differ from PORT.")
if PRODUCTION:
    mistakes += production.problems(
        secret_key=SECRET_KEY,
        key_pepper=key_pepper,
        webhook_secrets=(STRIPE_WEBHOOK_SECRET, STRIPE_THIN_WEBHOOK_SECRET),
        base_url=BASE_URL,
        allowed_hosts=more_hosts,
        trusted_proxies=TRUSTED_PROXIES,
        database_url=DATABASE_URL,
        debug=DEBUG,
    )
environment.raise_mistakes(f"EcoHash will not start in {ECOHASH_ENV}:")
