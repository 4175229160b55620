"""Beat does not fill Redis up with messages that nobody hears."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import current_app

from ecohash.background import beat
from images.queue import signals


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[beat.Scheduler]:
    scheduler = beat.Scheduler(
        app=current_app, schedule_filename=str(tmp_path / "schedule"), lazy=True
    )
    scheduler.setup_schedule()
    yield scheduler
    scheduler.close()
    scheduler.producer.connection.release()


@pytest.mark.parametrize(
    ("name", "queue"), [("send usage", "stripe"), ("end what is overdue", "default")]
)
def test_a_task_that_no_worker_takes_is_sent_so_often_and_again_once_one_does(
    scheduler: beat.Scheduler, name: str, queue: str
) -> None:
    entry = scheduler.schedule[name]
    for _ in range(beat.MAX_WAITING + 20):
        scheduler.apply_entry(entry, producer=scheduler.producer)
    assert signals.client().llen(queue) == beat.MAX_WAITING
    signals.client().delete(queue)
    scheduler.apply_entry(entry, producer=scheduler.producer)
    assert signals.client().llen(queue) == 1


def test_another_queue_still_gets_its_tasks(scheduler: beat.Scheduler) -> None:
    signals.client().rpush("stripe", *["waiting"] * beat.MAX_WAITING)
    scheduler.apply_entry(scheduler.schedule["end what is overdue"], producer=scheduler.producer)
    assert signals.client().llen("default") == 1


def test_the_platforms_beat_is_this_one() -> None:
    assert current_app.conf.beat_scheduler == "ecohash.background.beat:Scheduler"
