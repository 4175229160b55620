"""supervisord at a terminal: when the window closes (SIGHUP), it stops instead of starting over.

`config` writes the configuration, so it is read literally: no text behind # or ; is a comment,
and no %(ENV_...)s is known, because a failed expansion would list every name of the environment.
"""

import signal
from types import FrameType
from typing import Any

from supervisor import options, supervisord


class Receiver(options.SignalReceiver):  # type: ignore[misc]  # supervisor has no types
    """Takes a hang-up for a request to stop; supervisord itself would reload and go on."""

    def receive(self, number: int, frame: FrameType | None) -> None:
        super().receive(signal.SIGTERM if number == signal.SIGHUP else number, frame)


class Parser(options.UnhosedConfigParser):  # type: ignore[misc]  # the same
    """Reads a # or ; behind a space as part of a path."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"inline_comment_prefixes": None} | options)


class Options(options.ServerOptions):  # type: ignore[misc]  # the same
    """Expands no name of the environment; the programs still inherit it."""

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
