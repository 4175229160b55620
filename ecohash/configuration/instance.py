"""Names this installation, so that `make up` tells its own web server from another one on the same port."""

from django.conf import settings
from django.core.signing import Signer

HEADER = "x-ecohash-instance"


def instance_id() -> str:
    """16 characters, the same in each process of this installation; they tell nothing of folder or secret."""
    return Signer(salt="ecohash.instance").signature(str(settings.VAR_DIR))[:16]
