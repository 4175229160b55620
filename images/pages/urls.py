"""Addresses of the pages about images. Those of the API are in images/api/urls.py."""

from django.urls import path, register_converter
from django.urls.converters import StringConverter

from images.pages import playground, requests


class GenerationId(StringConverter):
    """`gen_` and 22 base62 characters; any other form is an unknown address."""

    regex = r"gen_[0-9A-Za-z]{22}"


register_converter(GenerationId, "generation_page")

urlpatterns = [
    path("playground", playground.playground, name="playground"),
    path("playground/history", playground.history, name="playground_history"),
    path("playground/<generation_page:pk>", playground.run, name="playground_run"),
    path("playground/<generation_page:pk>/state", playground.state, name="playground_state"),
    path("playground/<generation_page:pk>/cancel", playground.cancel, name="playground_cancel"),
    path("dashboard/requests", requests.index, name="requests"),
    path("dashboard/requests/<generation_page:pk>", requests.detail, name="request"),
]
