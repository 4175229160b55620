"""The images app: the API, the life of a generation, pictures and the playground."""

from django.apps import AppConfig


class ImagesConfig(AppConfig):
    name = "images"
    verbose_name = "Images"

    def ready(self) -> None:
        from billing.ledger import pricing  # noqa: PLC0415 - imports models
        from images.catalog import MODELS  # noqa: PLC0415

        # Billing may not import the catalog, and needs the titles on invoices.
        pricing.MODEL_TITLES.update({model.id: model.title for model in MODELS.values()})
