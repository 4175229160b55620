"""Where nothing is: says where the API is, since most callers are one mistake away from it.

Of the address only known words are repeated; the rest of it may hold a key.
"""

import re

from django.conf import settings
from django.http import HttpRequest

from accounts.http.refusals import Refusal

IMAGES = "images/generations"
IMAGES_WORDS = IMAGES.split("/")
# What stands before the resource: other services' prefixes, and our own pages.
PREFIXES = {"api", "openai", "inference", "proxy", "gateway", "dashboard", "docs", "playground"}
VERSION = re.compile(r"v\d{1,2}(?:beta|alpha)?\d{0,2}", re.ASCII)
# Each is followed by a name of the caller's.
NAMED = {"deployments", "engines", "models", "accounts", "projects"}
OFFERED = {
    **dict.fromkeys(
        (
            IMAGES,
            *("images", "image", "image/generations", "images/generation", "image/generation"),
            *("images/generate", "image/generate", "images/create", "generations", "generate"),
            *("text-to-image", "text2image", "txt2img", "sdapi/v1/txt2img"),
        ),
        IMAGES,
    ),
    "models": "models",
    "model": "models",
    "key": "key",
    "usage": "usage",
}
NOT_OFFERED = {
    **{
        path: path
        for path in (
            *("images/edits", "images/variations", "chat/completions", "completions", "responses"),
            *("embeddings", "audio/speech", "audio/transcriptions", "audio/translations", "audio"),
            *("batches", "files", "uploads", "moderations", "assistants", "threads", "edits"),
            *("vector_stores", "fine_tuning/jobs", "fine_tuning", "realtime", "videos", "evals"),
            *("containers", "conversations", "messages", "rerank", "organization"),
        )
    },
    "images/edit": "images/edits",
    "image/edits": "images/edits",
    "images/variation": "images/variations",
    "image/variations": "images/variations",
    "chat": "chat/completions",
    "fine-tunes": "fine_tuning/jobs",
    "fine-tuning": "fine_tuning/jobs",
}
WORDS = PREFIXES | NAMED | {word for path in (*OFFERED, *NOT_OFFERED) for word in path.split("/")}
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}
LONGEST_SHOWN = 120


class UnknownPath(Refusal):
    status = 404

    def __init__(self, text: str = "") -> None:
        super().__init__(text or nothing_here())


def api_base() -> str:
    """The base URL to set in a client, without a closing slash."""
    return f"{settings.BASE_URL}/v1"


def where_the_api_is() -> str:
    return f"The API's base URL is {api_base()}: set base_url to it, and call POST {api_base()}/{IMAGES}."


def nothing_here() -> str:
    return f"There is nothing at this address. {where_the_api_is()}"


def explain(request: HttpRequest) -> str:
    """What to say to the sender, at whose address there is nothing: which one was probably meant."""
    words = _resource([word.strip().lower() for word in request.path.split("/") if word.strip()])
    resource = "/".join(words)
    for beginning in ("/".join(words[:2]), "/".join(words[:1])):
        if name := NOT_OFFERED.get(beginning):
            return f"EcoHash offers image generation only: /v1/{name} is not offered. {where_the_api_is()}"
    if resource.startswith(f"{IMAGES}/") and resource not in OFFERED:
        return (
            "There is no generation with such an id: one is 'gen_' and 22 letters and digits. "
            f"{where_the_api_is()}"
        )
    if resource not in OFFERED:
        return nothing_here()
    meant = OFFERED[resource]
    verb = "POST" if meant == IMAGES else "GET"
    here = _shown(request.method or "", request.path)
    return (
        f"There is nothing at {here}. The API's base URL is {api_base()}: "
        f"set base_url to it, and call {verb} {api_base()}/{meant}."
    )


def _resource(words: list[str]) -> list[str]:
    """The words of a path without what stands before the resource, and without a whole address before another."""
    while len(words) > 1:
        if words[0] in PREFIXES or VERSION.fullmatch(words[0]):
            words = words[1:]
        elif len(words) > len(IMAGES_WORDS) and (
            words[0] in NAMED or (words[:2] == IMAGES_WORDS and _begins(words[2]))
        ):
            words = words[2:]
        else:
            break
    return words


def _begins(word: str) -> bool:
    """Whether an address of the API could begin with it."""
    return word in WORDS or VERSION.fullmatch(word) is not None


def _shown(method: str, path: str) -> str:
    """Method and path as they were sent, as far as both are made of known words."""
    words = [word if not word or _begins(word.lower()) else "..." for word in path.split("/")]
    shown = "/".join(words)
    if len(shown) > LONGEST_SHOWN or shown in {f"/v1/{meant}" for meant in OFFERED.values()}:
        return "exactly this address"
    return f"{method} {shown}" if method in METHODS else shown
