"""What may be logged: each line carries its request id, and none carries what a client sent."""

import logging
import traceback

from images import request_id


class DiscreetFilter(logging.Filter):
    """Adds the request id; takes off what could hold a key, a prompt or a link's signature.

    Django's request would be written with its query string. An exception is told by its type and
    frames: its message can hold a row, as PostgreSQL's "Failing row contains" does.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.current()
        record.__dict__.pop("request", None)
        if record.name.startswith(("django.request", "django.security")):
            # Their sentences end in the address or the host name that was sent: "Not Found: /v1/eco_...".
            record.msg, record.args = record.getMessage().partition(":")[0], ()
        if record.exc_info and record.exc_info[1]:
            record.error = type(record.exc_info[1]).__name__
            record.frames = frames_of(record.exc_info[1])
            record.exc_info = record.exc_text = None
        return True


def frames_of(error: BaseException) -> str:
    """Where it was raised, and where each error that led to it was, without a message."""
    told = []
    current: BaseException | None = error
    while current:
        told.append(
            type(current).__name__ + "\n" + "".join(traceback.format_tb(current.__traceback__))
        )
        hidden = None if current.__suppress_context__ else current.__context__
        current = current.__cause__ or hidden
    return "\n".join(told)
