"""An engine's first images: drawn before the worker claims a job, looked at, and timed."""

import logging
import time

from images.catalog import SIZES
from inference import inspection
from inference.engines.base import Engine, EngineUnavailable, OutOfMemory, UnusableImage
from inference.pace import Pace

logger = logging.getLogger(__name__)

FIRST_PROMPT = "a red circle"
# After the warm-up sizes are timed until so long has passed.
FIRST_PACE_SECONDS = 2.0


def warm(engine: Engine, pace: Pace) -> None:
    """Load the engine, draw once at each size, and note in `pace` how long that takes.

    Raises:
        EngineUnavailable: it cannot be loaded, or what it draws cannot be sold.
    """
    started = time.monotonic()
    engine.load()
    try:
        engine.warm(list(SIZES.values()))
        measure_first_pace(engine, pace)
    except UnusableImage as error:
        message = f"A warm-up image is unusable. {error} Set FLUX_MODEL to intact weights."
        raise EngineUnavailable(message) from error
    except OutOfMemory as error:
        message = f"The warm-up ran out of memory. {error} Other programs may use the device."
        raise EngineUnavailable(message) from error
    seconds = round(time.monotonic() - started, 1)
    logger.info("engine warm", extra={"engine": engine.fingerprint, "seconds": seconds})


def check(engine: Engine) -> None:
    """Draw a known prompt at the smallest size. What it raises says that the engine or its device is broken."""
    width, height = min(SIZES.values())
    drawing = engine.draw(FIRST_PROMPT, width=width, height=height, seed=0)
    inspection.png_of(drawing, width=width, height=height)


def measure_first_pace(engine: Engine, pace: Pace) -> None:
    """Draw the smallest sizes once more and time it, so that forecasts are right from the start.

    Raises:
        OutOfMemory, UnusableImage
    """
    begun = time.monotonic()
    for size, (width, height) in sorted(SIZES.items(), key=lambda one: one[1]):
        started = time.monotonic()
        drawing = engine.draw(FIRST_PROMPT, width=width, height=height, seed=0)
        pace.record(size, time.monotonic() - started)
        inspection.png_of(drawing, width=width, height=height)
        # A CPU would need long for the large ones; their pace shows with their first picture.
        if time.monotonic() - begun > FIRST_PACE_SECONDS:
            break
    pace.keep_as_warm_up()
