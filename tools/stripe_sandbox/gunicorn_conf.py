"""How gunicorn serves the sandbox: one process, since what runs at this moment is kept in its memory."""

import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tools.stripe_sandbox.settings")

from tools.stripe_sandbox import settings

bind = f"127.0.0.1:{settings.STRIPE_SANDBOX_PORT}"
worker_class = "gthread"
workers = 1
threads = 32
backlog = 2_048
keepalive = 75
timeout = 120
graceful_timeout = 5
control_socket_disable = True
MEMORY = "/dev/shm"  # noqa: S108 - gunicorn makes a private file in it
worker_tmp_dir = MEMORY if os.access(MEMORY, os.W_OK) else None
accesslog = None
errorlog = "-"
# Its news of starting and stopping would drown those of the platform that it runs beside.
loglevel = "warning"


def post_worker_init(_worker: Any) -> None:
    """Time passes, and events are delivered, in threads of the one worker."""
    # They need Django, which is loaded now.
    from tools.stripe_sandbox import periodic  # noqa: PLC0415
    from tools.stripe_sandbox.state import delivery  # noqa: PLC0415

    periodic.start()
    delivery.start()
