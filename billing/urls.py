"""Addresses of the money pages."""

from django.urls import path

from billing import payment_views, views

urlpatterns = [
    path("dashboard/billing", views.billing, name="billing"),
    path("dashboard/billing/subscribe", payment_views.subscribe, name="subscribe"),
    path("dashboard/billing/subscribed", payment_views.subscribed, name="subscribed"),
    path("dashboard/billing/portal", payment_views.portal, name="portal"),
    path("dashboard/billing/back", payment_views.portal_left, name="portal_left"),
    path("dashboard/billing/invoices", payment_views.invoices, name="invoices"),
    path("webhooks/stripe", payment_views.stripe_webhook, name="stripe_webhook"),
    path("dashboard/usage", views.usage, name="usage"),
    path("dashboard/usage.csv", views.usage_table, name="usage_csv"),
]
