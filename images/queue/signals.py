"""What Redis and Celery carry: notifications, wake-ups, progress, and which workers are alive.

All of it may be lost, doubled or late without harm; the database decides. So nothing here raises
when Redis is away: a lost hint is logged, and the sweeper or the poller makes up for it. Nor does
anything wait long for it: once Redis has failed somebody in this process, one in two seconds asks it for
all (see `circuits.Circuit`).
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cache

import redis
from amqp import AMQPError
from celery import current_app
from django.conf import settings
from kombu.exceptions import OperationalError

from accounts.limits.circuits import asking, broker_circuit
from images.catalog import Model

logger = logging.getLogger(__name__)

ENDED = "ecohash:ended"
WORKERS = "ecohash:workers"
STEP_SECONDS = 120
HEARTBEAT_SECONDS = 5
# After three missed heartbeats a worker counts as dead.
DEAD_AFTER_SECONDS = 3 * HEARTBEAT_SECONDS
PERIODIC_TASKS = "ecohash:chores"
# Redis' own clock, so that hosts need not agree on the time.
RECORD_RUN = "redis.call('HSET', KEYS[1], ARGV[1], redis.call('TIME')[1])"
# A caller waits for most of these calls.
REDIS_TIMEOUT_SECONDS = 1
LISTENING_TIMEOUT_SECONDS = 5


@dataclass(frozen=True)
class LiveWorker:
    """One GPU process, as its last heartbeat described it; `state` is `idle` or `drawing`.

    `seconds` is what a picture took lately, of any size and of each; None before the first.
    """

    name: str
    model: str
    state: str
    fingerprint: str
    seconds: float | None = None
    seconds_by_size: dict[str, float] = field(default_factory=dict)


@cache
def client() -> redis.Redis:
    """This process's connection pool; safe to share between threads."""
    return _connect(REDIS_TIMEOUT_SECONDS)


@cache
def listener() -> redis.Redis:
    """A connection pool for subscribers, who wait longer."""
    return _connect(LISTENING_TIMEOUT_SECONDS)


def _connect(timeout_seconds: float) -> redis.Redis:
    """A connection pool with this timeout for every socket."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        decode_responses=True,
        socket_connect_timeout=timeout_seconds,
        socket_timeout=timeout_seconds,
        health_check_interval=30,
    )


def notify_workers(model: Model, times: int = 1) -> None:
    """Tell the workers of this model that there is work."""
    try:
        for _ in range(times):
            with asking(broker_circuit()):
                current_app.send_task(
                    "inference.draw", args=[model.id], queue=model.queue, retry=False
                )
    except (OperationalError, AMQPError, redis.RedisError, OSError) as error:
        logger.warning(
            "notification lost", extra={"model": model.id, "error": type(error).__name__}
        )


def publish_end(generation_id: str) -> None:
    """Wake whoever waits for this generation."""
    try:
        with asking():
            client().publish(ENDED, generation_id)
    except redis.RedisError as error:
        logger.warning("wake-up lost", extra={"error": type(error).__name__})


def ended() -> Iterator[str]:
    """Ids of generations as they end, forever.

    Raises:
        redis.RedisError: the connection broke; subscribe again.
    """
    with listener().pubsub(  # type: ignore[no-untyped-call]
        ignore_subscribe_messages=True
    ) as subscription:
        subscription.subscribe(ENDED)
        while True:
            message = subscription.get_message(timeout=3)
            if message:
                yield message["data"]


def report_step(generation_id: str, step: int, steps: int) -> None:
    """Show progress to whoever looks at the job."""
    try:
        with asking():
            client().set(f"ecohash:step:{generation_id}", f"{step}/{steps}", ex=STEP_SECONDS)
    except redis.RedisError as error:
        logger.debug("progress lost", extra={"error": type(error).__name__})


def step_of(generation_id: str) -> tuple[int, int] | None:
    """(step just finished, steps in all); None before the first, or when nobody knows."""
    try:
        with asking():
            text = client().get(f"ecohash:step:{generation_id}")
    except redis.RedisError:
        return None
    if not isinstance(text, str):
        return None
    step, _, steps = text.partition("/")
    return int(step), int(steps)


def heartbeat(worker: LiveWorker) -> None:
    """Say that this worker is alive and warm."""
    try:
        pipe = client().pipeline(transaction=False)
        pipe.sadd(WORKERS, worker.name)
        pipe.set(f"{WORKERS}:{worker.name}", json.dumps(asdict(worker)), ex=DEAD_AFTER_SECONDS)
        pipe.execute()
    except redis.RedisError as error:
        logger.warning("heartbeat lost", extra={"error": type(error).__name__})


def deregister(name: str) -> None:
    """Say that this worker stops, so that nobody waits for it."""
    try:
        client().srem(WORKERS, name)
    except redis.RedisError as error:
        logger.debug("deregistration lost", extra={"error": type(error).__name__})


def live_workers() -> list[LiveWorker]:
    """The workers that sent a heartbeat lately; an empty list also when Redis is away."""
    try:
        with asking():
            names = sorted(map(str, client().smembers(WORKERS)))
            if not names:
                return []
            found = client().mget([f"{WORKERS}:{name}" for name in names])
            if dead := [name for name, text in zip(names, found, strict=True) if text is None]:
                client().srem(WORKERS, *dead)
    except redis.RedisError:
        return []
    return [LiveWorker(**json.loads(text)) for text in found if text is not None]


def record_periodic_task(name: str) -> None:
    """Say that this periodic task has just run."""
    try:
        client().eval(RECORD_RUN, 1, PERIODIC_TASKS, name)
    except redis.RedisError as error:
        logger.debug("run of a periodic task not recorded", extra={"error": type(error).__name__})


def seconds_since_periodic_tasks() -> dict[str, float]:
    """How long ago each periodic task ran last; one that was never recorded is missing."""
    try:
        pipe = client().pipeline(transaction=False)
        pipe.time()
        pipe.hgetall(PERIODIC_TASKS)
        (now, _), runs = pipe.execute()
    except redis.RedisError:
        return {}
    return {name: max(0.0, now - float(at)) for name, at in runs.items()}
