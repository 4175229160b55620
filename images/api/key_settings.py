"""What the settings of a key make of a call, for clients that send what cannot be changed in them.

All are off unless somebody turns them on, and then the contract holds as it is written.
"""

import math
import re
from collections.abc import Iterable
from typing import Any

from django.http import QueryDict

from accounts.http.refusals import InvalidRequest
from accounts.models import ApiKey
from billing.ledger import pricing
from images.catalog import MODELS, SIZES, Model

RESPONSE_FORMATS = ("b64_json", "url")
DEFAULT_RESPONSE_FORMAT = "b64_json"
# Headers of the answer to a call that was read otherwise than it was written.
MODEL_HEADER = "x-ecohash-model"
SIZE_HEADER = "x-ecohash-requested-size"
SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", re.ASCII)
LONGEST_SIDE = 16_384  # pixels; a size beyond it is a mistake, and not a shape to come near to


def with_query(body: dict[str, Any], query: QueryDict) -> dict[str, Any]:
    """The body with the `response_format` of the query, where the body has none.

    Some clients can add a parameter to the address and none to the body.

    Raises:
        InvalidRequest: the query has it more than once, or with a value that is not offered.
    """
    given = query.getlist("response_format")
    if not given:
        return body
    if len(given) > 1:
        raise InvalidRequest(
            "'response_format' was given more than once in the query. Send it once.",
            code="invalid_value",
            param="response_format",
        )
    if given[0] not in RESPONSE_FORMATS:
        raise InvalidRequest(
            f"'response_format' in the query must be one of: {', '.join(RESPONSE_FORMATS)}.",
            code="invalid_value",
            param="response_format",
        )
    return body if body.get("response_format") is not None else body | {"response_format": given[0]}


def as_meant(body: dict[str, Any], key: ApiKey) -> tuple[dict[str, Any], dict[str, str]]:
    """(the body as the key's settings read it, the headers that tell the caller so)."""
    meant, headers = dict(body), {}
    if key.prefers_links and meant.get("response_format") is None:
        meant["response_format"] = "url"
    model, size = meant.get("model"), meant.get("size")
    found = model_named(model, key) if isinstance(model, str) else None
    if found and found.id != model:
        meant["model"] = headers[MODEL_HEADER] = found.id
    if found and key.nearest_size and isinstance(size, str) and size not in SIZES:
        nearest = nearest_size(size, offered_sizes(found.id))
        # What is no size of pixels, such as `auto`, is left to the contract.
        if nearest:
            meant["size"], headers[SIZE_HEADER] = nearest, size
    return meant, headers


def models_of(key: ApiKey) -> dict[str, Model]:
    """The names by which this key may ask for a model: those of the catalog, then its aliases.

    A name of the catalog means its own model, and an alias of a model that is no longer offered means none.
    """
    aliases = {
        name: MODELS[model]
        for name, model in key.model_aliases.items()
        if model in MODELS and name not in MODELS
    }
    return MODELS | aliases


def model_named(name: str, key: ApiKey) -> Model | None:
    """The model that a call with this key means by that name; None where it means none."""
    return models_of(key).get(name)


def offered_sizes(model: str) -> list[str]:
    """The sizes of the catalog that have a price for this model."""
    priced = pricing.prices_in_force(model)
    return [size for size in SIZES if size in priced]


def nearest_size(text: str, offered: Iterable[str]) -> str | None:
    """The offered size of the nearest shape, and of those the one of the nearest area.

    Both are compared as ratios, so that twice as wide is as far away as half as wide. None for what is no size
    such as `1792x1024`, or has a side of more than `LONGEST_SIDE` pixels.
    """
    found = SIZE.fullmatch(text)
    if found is None:
        return None
    width, height = (int(side) for side in found.groups())
    if max(width, height) > LONGEST_SIDE:
        return None

    def distance(size: str) -> tuple[float, float]:
        wide, high = SIZES[size]
        shape = abs(math.log(width / height) - math.log(wide / high))
        return shape, abs(math.log(width * height / (wide * high)))

    return min(offered, key=distance, default=None)


def describe(key: ApiKey) -> dict[str, Any]:
    """The settings as `GET /v1/key` tells them."""
    return {
        "default_response_format": "url" if key.prefers_links else DEFAULT_RESPONSE_FORMAT,
        "model_aliases": key.model_aliases,
        "nearest_size": key.nearest_size,
    }
