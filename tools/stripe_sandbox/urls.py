"""The addresses: Stripe's API, the controls of tests, and the pages for people."""

from django.urls import path, re_path

from tools.stripe_sandbox import api, controls, operator_page, pages

urlpatterns = [
    re_path(r"^v[12](?:/|$)", api.api),
    path("", operator_page.operator, name="operator"),
    path("operator/<noun>/<key>/<verb>", operator_page.act, name="act"),
    path("sandbox.css", pages.stylesheet, name="css"),
    path("checkout/<key>", pages.checkout_page, name="checkout"),
    path("portal/<key>", pages.portal_page, name="portal"),
    path("invoices/<key>", pages.invoice_page, name="invoice"),
    path("invoices/<key>/pdf", pages.invoice_page),
    path("sandbox/healthz", controls.healthz),
    path("sandbox/faults", controls.all_faults),
    path("sandbox/usage", controls.used),
    path("sandbox/requests", controls.requests),
    path("sandbox/reset", controls.reset),
    path("sandbox/delivery", controls.change_delivery),
    path("sandbox/events", controls.event_list),
    path("sandbox/events/<key>/payload", controls.event_payload),
    path("sandbox/events/<key>/delivered", controls.event_delivered),
    path("sandbox/checkout/<key>/complete", controls.complete_checkout),
    path("sandbox/<noun>/<key>/<verb>", controls.act),
]
