"""The inference app: engines, and the worker that draws with one."""

from django.apps import AppConfig


class InferenceConfig(AppConfig):
    name = "inference"
    verbose_name = "Inference"

    def ready(self) -> None:
        from inference import checks  # noqa: F401, PLC0415 - registers the checks
