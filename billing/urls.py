"""Addresses of the money pages."""

from django.urls import path

from billing import views

urlpatterns = [
    path("dashboard/billing", views.billing, name="billing"),
    path("dashboard/usage", views.usage, name="usage"),
    path("dashboard/usage.csv", views.usage_table, name="usage_csv"),
]
