"""Choosing the engine: by setting, without importing what is not chosen."""

import subprocess
import sys

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from images.catalog import DEFAULT_MODEL, MODELS
from inference.engines.blank import BlankEngine
from inference.loading import BUILDERS, build_engine

MODEL = MODELS[DEFAULT_MODEL]


def test_the_blank_engine_takes_its_seconds_from_the_settings(settings: Settings) -> None:
    settings.INFERENCE_ENGINE, settings.BLANK_ENGINE_SECONDS = "blank", 0.5
    engine = build_engine(MODEL)
    assert isinstance(engine, BlankEngine)
    assert engine._seconds == 0.5


def test_without_a_model_the_miniature_is_used(settings: Settings) -> None:
    from inference.engines.flux import FluxEngine

    settings.INFERENCE_ENGINE, settings.FLUX_MODEL = "flux", ""
    engine = build_engine(MODEL)
    assert isinstance(engine, FluxEngine)
    engine.load()
    assert engine.fingerprint.startswith("flux-miniature")


def test_an_unknown_engine_is_refused_with_the_choices(settings: Settings) -> None:
    settings.INFERENCE_ENGINE = "magic"
    with pytest.raises(ImproperlyConfigured, match="'flux' or 'blank'"):
        build_engine(MODEL)


def test_every_model_names_an_engine_that_can_be_built() -> None:
    assert {model.engine for model in MODELS.values()} <= set(BUILDERS)


def test_torch_is_imported_only_when_flux_is_chosen() -> None:
    program = (
        "import sys; from django.conf import settings; "
        "settings.configure(INFERENCE_ENGINE='blank', BLANK_ENGINE_SECONDS=0); "
        "from images.catalog import MODELS; from inference.loading import build_engine; "
        "[build_engine(model).load() for model in MODELS.values()]; "
        "sys.exit(sorted({'torch', 'diffusers', 'transformers'} & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
