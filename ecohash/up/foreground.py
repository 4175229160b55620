"""supervisord at a terminal: when the window closes (SIGHUP), it stops instead of starting over.

Its configuration is written by us, so it is read word for word: no text behind # or ; is a comment,
and no %(ENV_...)s is known, because a failed expansion would list every name of the environment.
"""

import signal
from types import FrameType
from typing import Any

from supervisor import options, supervisord


class Receiver(options.SignalReceiver):  # type: ignore[misc]  # supervisor has no types
    """Hears a hang-up as a request to stop; supervisord itself would reload and stay for ever."""

    def receive(self, number: int, frame: FrameType | None) -> None:
        super().receive(signal.SIGTERM if number == signal.SIGHUP else number, frame)


class Parser(options.UnhosedConfigParser):  # type: ignore[misc]  # the same
    """Takes a # or ; behind a space for what it is: part of a path."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"inline_comment_prefixes": None} | options)


class Options(options.ServerOptions):  # type: ignore[misc]  # the same
    """Knows nothing of the environment, which the programs still inherit."""

    def __init__(self) -> None:
        super().__init__()
        self.environ_expansions: dict[str, str] = {}


def use_ours() -> None:
    """Put these three in the place of supervisord's own."""
    options.SignalReceiver = Receiver
    options.UnhosedConfigParser = Parser
    supervisord.ServerOptions = Options


if __name__ == "__main__":
    use_ours()
    supervisord.main()
