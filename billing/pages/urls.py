"""Addresses of the money pages."""

from django.urls import path

from billing.pages import billing, stripe, usage, webhook

urlpatterns = [
    path("dashboard/billing", billing.billing, name="billing"),
    path("dashboard/billing/subscribe", stripe.subscribe, name="subscribe"),
    path("dashboard/billing/subscribed", stripe.subscribed, name="subscribed"),
    path("dashboard/billing/portal", stripe.portal, name="portal"),
    path("dashboard/billing/back", stripe.back_from_portal, name="portal_left"),
    path("dashboard/billing/invoices", stripe.invoices, name="invoices"),
    path("webhooks/stripe", webhook.stripe_webhook, name="stripe_webhook"),
    path("dashboard/usage", usage.usage, name="usage"),
    path("dashboard/usage.csv", usage.usage_as_csv, name="usage_csv"),
]
