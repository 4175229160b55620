"""Addresses of the API. Both spellings of each are served, with and without a closing slash: a
redirect would turn POST into GET.
"""

from django.urls import re_path

from images.api import generations, key, usage

urlpatterns = [
    re_path(r"^v1/images/generations/?\Z", generations.ImageGenerations.as_view()),
    re_path(
        r"^v1/images/generations/(?P<generation_id>gen_[0-9A-Za-z]{22})/?\Z",
        generations.ImageGeneration.as_view(),
    ),
    re_path(r"^v1/models/?\Z", generations.ModelList.as_view()),
    # An alias may be of the form openai/dall-e-3.
    re_path(r"^v1/models/(?P<model_id>.+?)/?\Z", generations.ModelDetail.as_view()),
    re_path(r"^v1/key/?\Z", key.KeyDetail.as_view()),
    re_path(r"^v1/usage/?\Z", usage.Usage.as_view()),
    re_path(r"^v1/usage\.csv/?\Z", usage.UsageTable.as_view()),
    re_path(r"^v1(?:/.*)?\Z", generations.unknown_path),
    re_path(
        r"^i/(?P<token>[0-9A-Za-z]{32})\.png\Z", generations.hosted_picture, name="hosted_picture"
    ),
    re_path(r"^i(?:/.*)?\Z", generations.unknown_path),
]
