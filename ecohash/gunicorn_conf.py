"""How gunicorn serves the web tier: `gunicorn -c python:ecohash.gunicorn_conf ecohash.wsgi`.

One thread waits for each request in flight, so the figures follow from the file handles that the
process may open; see the settings' `WAITING_LIMIT`.
"""

import os
import sys
import threading
from typing import Any

import django

from ecohash.configuration import environment

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ecohash.settings")
with environment.exit_if_misconfigured():
    django.setup()

# After setup, so that the log filters can be loaded.
from django.conf import settings

from ecohash.configuration import logs, startup
from ecohash.configuration.environment import host_of
from ecohash.web.worker import Worker

# In production a load balancer on another host comes in; a development machine serves itself alone.
bind = [f"{'0.0.0.0' if settings.PRODUCTION else '127.0.0.1'}:{settings.PORT}"]  # noqa: S104
if not settings.PRODUCTION and host_of(settings.BASE_URL) == "[::1]":
    bind.append(f"[::1]:{settings.PORT}")
worker_class = Worker
workers = settings.WEB_CONCURRENCY
threads = settings.WAITING_LIMIT + settings.PAGE_THREADS

# The worker accepts nothing more at this many connections, kept-alive ones included (default 1,000):
# room for every thread, and for idle callers out of the file handles that are left over.
IDLE_ROOM = max(settings.PAGE_THREADS, min(1_000, settings.OPEN_FILES - 256 - 2 * threads))
worker_connections = threads + IDLE_ROOM
backlog = 2_048
# A proxy must close an idle connection first, or it sends a request into one that is just being closed.
keepalive = settings.KEEPALIVE_SECONDS

# A thread that comes back from the database waits so long for each thread that computes (default 5 ms).
# In a burst of 300 callers on two cores a worker got 80 pictures through in the time of 42.
sys.setswitchinterval(0.0005)

# Loaded once and forked: half the memory and start-up time, and a killed worker is back at once.
preload_app = True
# For a stuck accept loop only: with threads, a long request does not count.
timeout = 120
# In production every caller gets an answer; at a terminal the image in hand is enough.
graceful_timeout = (
    settings.REQUEST_DEADLINE_SECONDS if settings.PRODUCTION else settings.IMAGE_TIMEOUT_SECONDS
) + 5
# gunicorn 27 otherwise makes a socket in the home folder.
control_socket_disable = True
# The heartbeat file must never wait for a slow disk.
MEMORY = "/dev/shm"  # noqa: S108 - gunicorn makes a private file in it
worker_tmp_dir = MEMORY if os.access(MEMORY, os.W_OK) else None

limit_request_line = 4_094
limit_request_fields = 100
limit_request_field_size = 8_190

# Whether a call came over https, and from where, is told by TRUSTED_PROXIES alone: gunicorn would believe
# whoever connects from this machine, and refuse headers of two proxies that differ.
forwarded_allow_ips = ""
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""

# Our own middleware writes a line for each request; gunicorn's own words go where Django's go.
accesslog = None
errorlog = "-"
logconfig_dict = settings.LOGGING
logs.log_uncaught_exceptions()


def on_starting(_server: Any) -> None:
    """End with a message and its remedy where a setting is wrong, before any request fails for it."""
    startup.check()


def pre_fork(server: Any, _worker: Any) -> None:
    """Threads do not survive a fork: a log line names those that loading started."""
    started = [
        thread.name for thread in threading.enumerate() if thread is not threading.main_thread()
    ]
    if started:
        server.log.error("threads started before the fork: %s", ", ".join(started))
