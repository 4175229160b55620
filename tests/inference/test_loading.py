"""Choosing the engine: by setting, without importing what is not chosen."""

import subprocess
import sys

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from inference.engines.blank import BlankEngine
from inference.engines.flux import FluxEngine
from inference.loading import build_engine


def test_the_blank_engine_takes_its_seconds_from_the_settings(settings: Settings) -> None:
    settings.INFERENCE_ENGINE, settings.BLANK_ENGINE_SECONDS = "blank", 0.5
    engine = build_engine()
    assert isinstance(engine, BlankEngine)
    assert engine._seconds == 0.5


def test_without_a_model_the_miniature_is_used(settings: Settings) -> None:
    settings.INFERENCE_ENGINE, settings.FLUX_MODEL = "flux", ""
    engine = build_engine()
    assert isinstance(engine, FluxEngine)
    engine.load()
    assert engine.fingerprint.startswith("flux-miniature")


def test_an_unknown_engine_is_refused_with_the_choices(settings: Settings) -> None:
    settings.INFERENCE_ENGINE = "magic"
    with pytest.raises(ImproperlyConfigured, match="'flux' or 'blank'"):
        build_engine()


def test_torch_is_imported_only_when_flux_is_chosen() -> None:
    program = (
        "import sys; from django.conf import settings; "
        "settings.configure(INFERENCE_ENGINE='blank', BLANK_ENGINE_SECONDS=0); "
        "from inference.loading import build_engine; build_engine().load(); "
        "sys.exit(sorted({'torch', 'diffusers', 'transformers'} & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
