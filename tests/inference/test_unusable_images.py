"""What comes out of a model is looked at before it is sold: not finite or of one color is a failure."""

from __future__ import annotations

import json
import logging
from io import BytesIO, StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from PIL import Image
from pytest_django import Settings

from images.catalog import FLUX_SCHNELL
from images.models import Generation
from images.models import Image as Delivered
from images.pictures import storage
from images.queue import signals
from inference import inspection, png, tasks
from inference.engines.base import EngineUnavailable, OnStep, OutOfMemory, UnusableImage
from inference.engines.blank import BlankEngine
from inference.worker import GpuWorker
from tests.calls import generate
from tests.cast import Person
from tests.images import make
from tests.images.make import books, state
from tests.inference.damaged import DAMAGES, checkpoint, loaded
from tests.working import working

if TYPE_CHECKING:
    import torch

    from inference.engines.flux import FluxDrawing, FluxEngine

SIDE = 512
with_database = pytest.mark.django_db(transaction=True)


def draw(engine: FluxEngine) -> FluxDrawing:
    return engine.draw("a red circle", width=SIDE, height=SIDE, seed=1)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("T5 gives NaN", "NaN or infinity after the text encoders and the transformer"),
        ("CLIP gives NaN", "NaN or infinity after the text encoders and the transformer"),
        ("transformer gives NaN", "NaN or infinity after the text encoders and the transformer"),
        ("transformer gives infinity", "NaN or infinity after the text encoders and the tr"),
        ("autoencoder gives NaN", "NaN or infinity after the autoencoder"),
        ("autoencoder gives infinity", "NaN or infinity after the autoencoder"),
        ("one channel is infinite", "NaN or infinity after the autoencoder"),
        ("gray", "same color, #808080"),
        ("white beyond the scale", "same color, #ffffff"),
        ("one color of three channels", "same color, #408cd9"),
    ],
)
def test_a_damaged_checkpoint_gives_no_drawing_and_the_reason(
    tmp_path: Path, name: str, reason: str
) -> None:
    with pytest.raises(UnusableImage, match=f"512x512 image.*{reason}") as raised:
        draw(loaded(tmp_path, DAMAGES[name]))
    assert "circle" not in str(raised.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_single_pixel_that_is_not_finite_is_enough(engine: FluxEngine, value: float) -> None:
    def spoil(_module: object, _inputs: object, decoded: torch.Tensor) -> torch.Tensor:
        decoded[0, 2, 17, 400] = value
        return decoded

    with (
        engine._pipeline.vae.decoder.register_forward_hook(spoil),
        pytest.raises(UnusableImage, match="after the autoencoder"),
    ):
        draw(engine)


@pytest.fixture(scope="session")
def broken(tmp_path_factory: pytest.TempPathFactory) -> FluxEngine:
    """An engine whose autoencoder gives NaN."""
    return loaded(tmp_path_factory.mktemp("broken"), DAMAGES["autoencoder gives NaN"])


def stored_of(job: Generation) -> list[int]:
    """The attempts whose picture is in the storage."""
    return [n for n in (1, 2) if storage.pictures().exists(storage.key_of(job.id, n))]


@with_database
def test_a_call_that_gets_an_unusable_image_twice_is_500_and_free(
    alice: Person, broken: FluxEngine
) -> None:
    with working(broken):
        answer = generate(alice)
    error = json.loads(answer.content)["error"]
    assert (answer.status_code, error["type"], error["code"]) == (500, "server_error", None)
    assert "two attempts" in error["message"]
    assert "unusable" in error["message"]
    assert "Nothing was charged" in error["message"]
    assert not answer.has_header("x-ecohash-generation-id")
    job = Generation.objects.get()
    assert (state(job), job.error_code) == (("failed", 2, "released"), "unusable_image")
    assert (books(alice), stored_of(job), Delivered.objects.count()) == ((0, 0), [], 0)


@with_database
def test_the_first_unusable_image_is_followed_by_a_second_attempt(alice: Person) -> None:
    job = make.queued(alice)
    work_off(HandsOver(HANDED_OVER["black"]))
    assert state(job) == ("succeeded", 2, "captured")
    assert stored_of(job) == [2]
    assert make.now(job).error_code == ""


@with_database
@pytest.mark.parametrize("recovers", [True, False])
def test_a_worker_whose_images_are_all_unusable_draws_a_known_prompt_and_ends_if_that_fails_too(
    alice: Person, monkeypatch: pytest.MonkeyPatch, *, recovers: bool
) -> None:
    ended = []
    monkeypatch.setattr(GpuWorker, "_end_process", lambda _, reason: ended.append(reason))
    for _ in range(2):
        make.queued(alice)
    black = HANDED_OVER["black"]
    engine = HandsOver(*([black] * (4 if recovers else 5)))
    worker = GpuWorker(engine=engine, model=FLUX_SCHNELL)
    for _ in range(5):
        worker.drain_queue()
    assert engine.given == []
    assert ended == ([] if recovers else ["the engine gives no usable image any more"])


class Handed:
    """A drawing as an engine might hand it over: bytes, pixels to encode, or neither."""

    prompt_tokens = prompt_tokens_seen = 3
    prompt_tokens_unknown = 0

    def __init__(self, given: Any) -> None:
        self.given = given

    def png(self) -> Any:
        return png.encode(self.given) if isinstance(self.given, np.ndarray) else self.given


class HandsOver(BlankEngine):
    """Hands over or raises what is given, one for each drawing, and then draws like the blank engine."""

    def __init__(self, *given: Any) -> None:
        super().__init__()
        self.given = list(given)

    def draw(
        self, prompt: str, *, width: int, height: int, seed: int, on_step: OnStep | None = None
    ) -> Any:
        if not self.given:
            return super().draw(prompt, width=width, height=height, seed=seed, on_step=on_step)
        given = self.given.pop(0)
        if isinstance(given, Exception):
            raise given
        return Handed(given)


def work_off(engine: HandsOver) -> None:
    """Draw what is queued, and what comes back for a second attempt."""
    worker = GpuWorker(engine=engine, model=FLUX_SCHNELL)
    worker.drain_queue()
    worker.drain_queue()


def noise(width: int = SIDE, height: int = SIDE) -> Any:
    return np.random.default_rng(1).integers(0, 256, size=(height, width, 3), dtype=np.uint8)


def jpeg() -> bytes:
    target = BytesIO()
    Image.fromarray(noise()).save(target, format="JPEG")
    return target.getvalue()


def flat_png(mode: str, color: Any) -> bytes:
    target = BytesIO()
    Image.new(mode, (SIDE, SIDE), color).save(target, format="PNG")
    return target.getvalue()


GOOD = png.encode(noise())
HANDED_OVER = {
    "black": png.encode(np.zeros((SIDE, SIDE, 3), np.uint8)),
    "one color": png.encode(np.full((SIDE, SIDE, 3), (12, 200, 90), np.uint8)),
    "one color in a palette": flat_png("P", 3),
    "one gray": flat_png("L", 128),
    "floats": noise().astype(np.float32),
    "two channels": noise()[:, :, :2],
    "without channels": noise()[:, :, 0],
    "another size": png.encode(noise(SIDE, SIDE - 64)),
    "no bytes": b"",
    "not even bytes": None,
    "a JPEG": jpeg(),
    "half a PNG": GOOD[: len(GOOD) // 2],
    "a PNG without its middle": GOOD[:40] + GOOD[-12:],
}


@with_database
@pytest.mark.parametrize("given", HANDED_OVER.values(), ids=HANDED_OVER)
def test_whatever_an_engine_hands_over_is_looked_at(alice: Person, given: Any) -> None:
    job = make.queued(alice)
    work_off(HandsOver(given, given))
    assert (state(job), make.now(job).error_code) == (("failed", 2, "released"), "unusable_image")
    assert (books(alice), stored_of(job)) == ((0, 0), [])


@pytest.mark.parametrize("size", [(512, 512), (1024, 1024), (768, 1024)])
@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), (1, 254, 3)])
def test_one_color_is_small_enough_to_be_decoded(
    size: tuple[int, int], color: tuple[int, int, int]
) -> None:
    width, height = size
    flat = Handed(np.full((height, width, 3), color, np.uint8))
    with pytest.raises(UnusableImage, match="same color"):
        inspection.png_of(flat, width=width, height=height)


def test_an_image_that_is_nearly_of_one_color_is_an_image() -> None:
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    pixels[-1, -1, 2] = 1
    assert not png.is_one_color(pixels)
    assert inspection.png_of(Handed(pixels), width=SIDE, height=SIDE) == png.encode(pixels)


def test_a_good_drawing_is_handed_on_as_it_is(engine: FluxEngine) -> None:
    for drawing in (draw(engine), BlankEngine().draw("fox", width=SIDE, height=SIDE, seed=1)):
        assert inspection.png_of(drawing, width=SIDE, height=SIDE) == drawing.png()


@pytest.mark.parametrize("name", ["T5 gives NaN", "one channel is infinite", "gray"])
def test_a_warm_up_with_an_unusable_image_refuses_and_says_why(tmp_path: Path, name: str) -> None:
    from inference.engines.flux import FluxEngine

    engine = FluxEngine(str(checkpoint(tmp_path, DAMAGES[name])))
    with pytest.raises(EngineUnavailable, match=r"warm-up image is unusable.*512x512.*FLUX_MODEL"):
        GpuWorker(engine=engine, model=FLUX_SCHNELL).warm()


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (HANDED_OVER["black"], "unusable.*512x512.*same color"),
        (OutOfMemory("The device has no room for a 1024x1024 image."), "memory.*1024x1024"),
    ],
)
def test_a_warm_up_trusts_no_engine(given: Any, complaint: str) -> None:
    with pytest.raises(EngineUnavailable, match=complaint):
        GpuWorker(engine=HandsOver(given), model=FLUX_SCHNELL).warm()


def test_a_device_without_room_names_the_size(engine: FluxEngine) -> None:
    import torch

    def run_out(_step: int, _steps: int) -> None:
        raise torch.OutOfMemoryError

    with pytest.raises(OutOfMemory, match="768x512"):
        engine.draw("a fox", width=768, height=512, seed=1, on_step=run_out)


def celery_worker_of(queue: str) -> Any:
    """As much of a Celery worker as the signal looks at."""
    queues = SimpleNamespace(consume_from={queue})
    return SimpleNamespace(app=SimpleNamespace(amqp=SimpleNamespace(queues=queues)))


def test_a_gpu_worker_with_damaged_weights_ends_with_status_1_and_the_reason(
    tmp_path: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    folder = checkpoint(tmp_path, DAMAGES["autoencoder gives NaN"])
    settings.INFERENCE_ENGINE, settings.FLUX_MODEL = "flux", str(folder)
    with pytest.raises(SystemExit) as ended:
        tasks.warm_engine(instance=celery_worker_of(FLUX_SCHNELL.queue))
    assert ended.value.code == 1
    (record,) = [one for one in caplog.records if one.levelno == logging.CRITICAL]
    assert "512x512" in record.__dict__["reason"]
    assert (tasks.workers, signals.live_workers()) == ({}, [])


def test_a_warm_up_that_fails_in_another_way_ends_the_process_too(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Celery would log the error and go on without a worker."""

    def fail(*_sizes: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    settings.INFERENCE_ENGINE = "blank"
    monkeypatch.setattr(BlankEngine, "warm", fail)
    with pytest.raises(SystemExit) as ended:
        tasks.warm_engine(instance=celery_worker_of(FLUX_SCHNELL.queue))
    assert ended.value.code == 1
    assert "RuntimeError" in caplog.text


@pytest.mark.parametrize("name", ["autoencoder gives NaN", "gray"])
def test_generate_image_writes_no_file_and_says_why(
    tmp_path: Path, settings: Settings, name: str
) -> None:
    folder, out = checkpoint(tmp_path, DAMAGES[name]), tmp_path / "fox.png"
    settings.INFERENCE_ENGINE, settings.FLUX_MODEL = "flux", str(folder)
    with pytest.raises(CommandError, match=r"unusable, so no file was written.*512x512"):
        call_command(
            "generate_image", "a fox", "--size", "512x512", "--out", str(out), stdout=StringIO()
        )
    assert not out.exists()
