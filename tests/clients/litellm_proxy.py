"""LiteLLM's proxy, which other programs use as if it were OpenAI."""

import json
import secrets
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from tests import servers
from tests.clients import installed
from tests.clients.conftest import ClientKey


@contextmanager
def litellm_proxy(key: ClientKey, base_url: str = "") -> Iterator[dict[str, str]]:
    """What a program needs to use a LiteLLM proxy in front of our API, or of that address."""
    port = servers.free_port()
    config = installed.FOLDER / "litellm.json"
    python = installed.python_of("litellm")
    parameters = {
        "model": "openai/flux-1-schnell",
        "api_base": base_url or key.environment["BASE_URL"],
        "api_key": key.secret,
    }
    model = {
        "model_name": "flux-1-schnell",
        "litellm_params": parameters,
        "model_info": {"mode": "image_generation"},
    }
    config.write_text(json.dumps({"model_list": [model]}))
    master_key = f"sk-{secrets.token_hex(32)}"
    words = [str(python.with_name("litellm")), "--config", str(config), "--port", str(port)]
    with (installed.FOLDER / "litellm.log").open("wb") as log:
        process = subprocess.Popen(
            [*words, "--host", "127.0.0.1"],
            env=installed.surroundings(LITELLM_MASTER_KEY=master_key),
            stdout=log,
            stderr=log,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        key.platform.wait_for(
            lambda: process.poll() is not None or answers(f"{address}/health/liveliness"),
            "ready: LiteLLM",
            90,
        )
        assert process.poll() is None, f"see {log.name}"
        yield {"BASE_URL": f"{address}/v1", "API_KEY": master_key}
    finally:
        process.terminate()
        process.wait(30)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
