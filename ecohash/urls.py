"""Every address of the platform. Each app keeps its own pages' addresses in its `urls.py`."""

from django.contrib import admin
from django.urls import include, path

from ecohash.pages import dashboard, public
from ecohash.web import health, leaked_keys

handler400 = "ecohash.errors.bad_request"
handler403 = "ecohash.errors.permission_denied"
handler404 = "ecohash.errors.not_found"
handler500 = "ecohash.errors.server_error"

urlpatterns = [
    path("", public.home, name="home"),
    path("docs", public.docs, name="docs"),
    path("docs/clients", public.docs_clients, name="docs_clients"),
    path("favicon.ico", public.favicon, name="favicon"),
    path("dashboard", dashboard.home, name="dashboard"),
    path("dashboard/first-steps", dashboard.first_steps, name="first_steps"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("webhooks/leaked-keys", leaked_keys.take_report, name="leaked_keys"),
    path("admin/", admin.site.urls),
    path("", include("accounts.urls")),
    path("", include("billing.pages.urls")),
    path("", include("images.pages.urls")),
    # Last, because it ends with a catch-all for /v1.
    path("", include("images.api.urls")),
]
