"""The addresses: Stripe's API, the controls of tests, and the pages for people."""

from django.urls import path, re_path

from tools.stripe_sandbox.api import requests
from tools.stripe_sandbox.controls import views
from tools.stripe_sandbox.pages import hosted, operator_page

urlpatterns = [
    re_path(r"^v[12](?:/|$)", requests.api),
    path("", operator_page.operator, name="operator"),
    path("operator/<noun>/<key>/<verb>", operator_page.act, name="act"),
    path("sandbox.css", hosted.stylesheet, name="css"),
    path("checkout/<key>", hosted.checkout_page, name="checkout"),
    path("portal/<key>", hosted.portal_page, name="portal"),
    path("invoices/<key>", hosted.invoice_page, name="invoice"),
    path("invoices/<key>/pdf", hosted.invoice_page),
    path("sandbox/healthz", views.healthz),
    path("sandbox/faults", views.all_faults),
    path("sandbox/usage", views.used),
    path("sandbox/requests", views.requests),
    path("sandbox/reset", views.reset),
    path("sandbox/clock", views.time_of_day),
    path("sandbox/settings", views.change_options),
    path("sandbox/delivery", views.change_delivery),
    path("sandbox/events", views.event_list),
    path("sandbox/events/<key>/payload", views.event_payload),
    path("sandbox/events/<key>/delivered", views.event_delivered),
    path("sandbox/checkout/<key>/complete", views.complete_checkout),
    path("sandbox/<noun>/<key>/<verb>", views.act),
]
