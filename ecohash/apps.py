"""The app on top, for its commands, checks and static files."""

from django.apps import AppConfig


class EcohashConfig(AppConfig):
    name = "ecohash"
    verbose_name = "EcoHash"

    def ready(self) -> None:
        from ecohash.configuration import checks  # noqa: F401, PLC0415 - registers the checks
