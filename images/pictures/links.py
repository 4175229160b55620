"""Hosted links: `BASE_URL/i/<token>.png?expires=...&sig=...`, good without a key until they expire."""

import hmac
import time

from django.conf import settings
from django.core.signing import Signer

from accounts.http.refusals import Refusal
from images.models import Image

LONGEST_TIME = 12  # digits


class LinkForbidden(Refusal):
    status = 403
    code = "invalid_signature"
    text = "This link was changed or is incomplete. Use the address exactly as the API gave it."


class LinkGone(Refusal):
    status = 410
    code = "link_expired"
    text = "This link has expired: pictures are kept for 24 hours. Generate the image again."


class LinkUnknown(Refusal):
    status = 404
    code = "image_not_found"
    text = "There is no picture at this address."


class LinkUnavailable(Refusal):
    status = 503
    type = "service_unavailable_error"
    code = "server_is_overloaded"
    headers = {"Retry-After": "5"}
    text = "The image could not be read from storage. Please try again in a few seconds."


def signature(token: str, expires: str) -> str:
    """Binds the expiry to the token, under SECRET_KEY."""
    # The salt stays as it was: another one would void what was given out.
    return Signer(salt="images.links").signature(f"{token}:{expires}")


def url_of(image: Image) -> str:
    """The absolute address of the picture while it lives."""
    expires = int(image.expires_at.timestamp())
    sig = signature(image.token, str(expires))
    return f"{settings.BASE_URL}/i/{image.token}.png?expires={expires}&sig={sig}"


def resolve(*, token: str, expires: str, sig: str) -> Image:
    """The picture that a link names.

    Raises:
        LinkForbidden: the signature does not fit this token and expiry.
        LinkGone: it fits, and the time is over.
        LinkUnknown: it fits, and the picture is nowhere to be found.
    """
    # int() would also take signs, spaces, underscores and other scripts' digits.
    if not (expires.isascii() and expires.isdigit() and len(expires) <= LONGEST_TIME):
        raise LinkForbidden
    if not hmac.compare_digest(signature(token, expires).encode(), sig.encode()):
        raise LinkForbidden
    if int(expires) <= time.time():
        raise LinkGone
    image = Image.objects.filter(token=token).first()
    if image is None:
        raise LinkUnknown
    return image
