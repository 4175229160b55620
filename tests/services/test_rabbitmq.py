"""The doorbell over RabbitMQ: rung by the web tier's code, heard by a worker of the same queue."""

import os
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from kombu import Connection
from kombu.exceptions import OperationalError

from images.catalog import Model
from images.queue import signals

BROKER = os.environ.get("TEST_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672//")


def answers() -> bool:
    """Whether a RabbitMQ is there."""
    try:
        with Connection(BROKER, connect_timeout=2) as connection:
            connection.ensure_connection(max_retries=1, timeout=3)
    except (OSError, OperationalError):
        return False
    return True


pytestmark = pytest.mark.services


def new_model() -> Model:
    """One whose queue nobody else listens to."""
    return Model(id=f"test-{uuid.uuid4().hex}", title="Test", created=0, steps=4, engine="flux")


@pytest.fixture
def bell() -> Iterator[Celery]:
    """The Celery app of the platform, with RabbitMQ for its broker."""
    if not answers():
        pytest.skip("no RabbitMQ answers; start one or set TEST_RABBITMQ_URL")
    app = Celery("ecohash", broker=BROKER, set_as_current=False)
    app.conf.task_ignore_result = True
    yield app
    app.close()


def test_a_ring_reaches_whoever_listens_to_the_models_queue(
    bell: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = new_model()
    monkeypatch.setattr(signals, "current_app", bell)
    signals.notify_workers(model, times=2)
    with bell.connection_for_read() as connection:
        queue = connection.SimpleQueue(model.queue)
        heard = [queue.get(timeout=5) for _ in range(2)]
        for message in heard:
            assert message.headers["task"] == "inference.draw"
            assert message.payload[0] == [model.id]
            message.ack()
        queue.close()
        channel: Any = connection.default_channel
        channel.queue_delete(model.queue)


def test_a_broker_that_refuses_a_bell_does_not_fail_the_caller(
    bell: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job is queued and paid for by then: a lost bell is the sweeper's business."""
    model = new_model()
    monkeypatch.setattr(signals, "current_app", bell)
    with bell.connection_for_write() as connection:
        channel: Any = connection.default_channel
        # A queue of that name with other properties makes the broker close the channel.
        channel.queue_declare(model.queue, durable=False, auto_delete=False)
        signals.notify_workers(model)
        channel.queue_delete(model.queue)
