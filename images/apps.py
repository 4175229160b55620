"""The images app: the API, the life of a generation, pictures and the playground."""

from django.apps import AppConfig


class ImagesConfig(AppConfig):
    name = "images"
    verbose_name = "Images"
