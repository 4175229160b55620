"""Addresses of the money pages."""

from django.urls import path

from billing.pages import billing, invoices, statement, stripe, usage, webhook

urlpatterns = [
    path("dashboard/billing", billing.billing, name="billing"),
    path("dashboard/billing/subscribe", stripe.subscribe, name="subscribe"),
    path("dashboard/billing/subscribed", stripe.subscribed, name="subscribed"),
    path("dashboard/billing/portal", stripe.portal, name="portal"),
    path("dashboard/billing/back", stripe.back_from_portal, name="portal_left"),
    path("dashboard/billing/invoices", invoices.invoices, name="invoices"),
    path("dashboard/billing/invoices/next", statement.next_statement, name="next_invoice"),
    path("dashboard/billing/invoices/<str:name>", statement.statement, name="invoice"),
    path(
        "dashboard/billing/invoices/<str:name>/images.csv",
        statement.images_csv,
        name="invoice_images",
    ),
    path(
        "dashboard/billing/invoices/<str:name>/page",
        statement.at_stripe,
        {"form": "page"},
        name="invoice_page",
    ),
    path(
        "dashboard/billing/invoices/<str:name>/pdf",
        statement.at_stripe,
        {"form": "pdf"},
        name="invoice_pdf",
    ),
    path("webhooks/stripe", webhook.stripe_webhook, name="stripe_webhook"),
    path("dashboard/usage", usage.usage, name="usage"),
    path("dashboard/usage.csv", usage.usage_as_csv, name="usage_csv"),
]
