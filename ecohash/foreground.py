"""supervisord at a terminal: when the window closes (SIGHUP), it stops instead of starting over."""

import signal
from types import FrameType

from supervisor import options, supervisord


class Receiver(options.SignalReceiver):  # type: ignore[misc]  # supervisor has no types
    """Hears a hang-up as a request to stop; supervisord itself would reload and stay for ever."""

    def receive(self, number: int, frame: FrameType | None) -> None:
        super().receive(signal.SIGTERM if number == signal.SIGHUP else number, frame)


if __name__ == "__main__":
    options.SignalReceiver = Receiver
    supervisord.main()
