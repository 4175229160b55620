"""The billing app: prices, credit, holds, the ledger, and how it is paid through Stripe."""

from django.apps import AppConfig


class BillingConfig(AppConfig):
    name = "billing"
    verbose_name = "Billing"

    def ready(self) -> None:
        from billing import checks  # noqa: F401, PLC0415 - registers the checks
