"""The images app: the API, the life of a generation, pictures and the playground."""

from django.apps import AppConfig


class ImagesConfig(AppConfig):
    name = "images"
    verbose_name = "Images"

    def ready(self) -> None:
        from accounts.keys import aliases  # noqa: PLC0415
        from billing.ledger import pricing  # noqa: PLC0415 - imports models
        from images.catalog import DEFAULT_MODEL, MODELS  # noqa: PLC0415

        # What is below may not import the catalog. The form of a key needs the ids, and invoices the titles.
        aliases.MODEL_IDS[:] = sorted(MODELS, key=lambda model: model != DEFAULT_MODEL)
        pricing.MODEL_TITLES.update({model.id: model.title for model in MODELS.values()})
