"""Addresses of the money pages."""

from django.urls import path

from billing.pages import billing, stripe

urlpatterns = [
    path("dashboard/billing", billing.billing, name="billing"),
    path("dashboard/billing/subscribe", stripe.subscribe, name="subscribe"),
    path("dashboard/billing/subscribed", stripe.subscribed, name="subscribed"),
    path("dashboard/billing/portal", stripe.portal, name="portal"),
    path("dashboard/billing/back", stripe.portal_left, name="portal_left"),
    path("dashboard/billing/invoices", stripe.invoices, name="invoices"),
    path("webhooks/stripe", stripe.stripe_webhook, name="stripe_webhook"),
    path("dashboard/usage", billing.usage, name="usage"),
    path("dashboard/usage.csv", billing.usage_table, name="usage_csv"),
]
