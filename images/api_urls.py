"""Addresses of the API. Both spellings of each are served, with and without a closing slash: a
redirect would turn POST into GET.
"""

from django.urls import re_path

from images import key_api, usage_api, views

urlpatterns = [
    re_path(r"^v1/images/generations/?\Z", views.ImageGenerations.as_view()),
    re_path(
        r"^v1/images/generations/(?P<generation_id>gen_[0-9A-Za-z]{22})/?\Z",
        views.ImageGeneration.as_view(),
    ),
    re_path(r"^v1/models/?\Z", views.ModelList.as_view()),
    re_path(r"^v1/models/(?P<model_id>[^/]+)/?\Z", views.ModelDetail.as_view()),
    re_path(r"^v1/key/?\Z", key_api.KeyDetail.as_view()),
    re_path(r"^v1/usage/?\Z", usage_api.Usage.as_view()),
    re_path(r"^v1/usage\.csv/?\Z", usage_api.UsageTable.as_view()),
    re_path(r"^v1(?:/.*)?\Z", views.unknown_path),
    re_path(r"^i/(?P<token>[0-9A-Za-z]{32})\.png\Z", views.hosted_picture, name="hosted_picture"),
    re_path(r"^i(?:/.*)?\Z", views.unknown_path),
]
