"""Silence around the model's libraries: prompts stay out of every log, chatter out of the worker's.

Call `silence_library_logs` before diffusers' or transformers' classes are first touched: they talk while they are
imported.
"""

import logging

from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

PIPELINE_LOGGER = "diffusers.pipelines.flux.pipeline_flux"


def silence_library_logs() -> None:
    """Let through errors only, no progress bars, and nothing at all from the FLUX pipeline.

    The pipeline logs, as a warning, the part of a long prompt that was cut. Levels alone would not
    do: anyone may raise diffusers' verbosity again.
    """
    logger = logging.getLogger(PIPELINE_LOGGER)
    if refuse not in logger.filters:
        logger.addFilter(refuse)
    for library in (diffusers_logging, transformers_logging):
        library.set_verbosity_error()
        library.disable_progress_bar()


def refuse(_record: logging.LogRecord) -> bool:
    """A filter that no record passes."""
    return False
