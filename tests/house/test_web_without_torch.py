"""The web tier starts where torch is not installed: `requirements-web.txt` is enough for it."""

import subprocess
import sys

from tests import servers

PROGRAM = """
import sys

FORBIDDEN = {"torch", "diffusers", "transformers", "accelerate", "safetensors", "numpy", "PIL"}


class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in FORBIDDEN:
            raise ModuleNotFoundError(f"{name} is not in requirements-web.txt", name=name)


sys.meta_path.insert(0, NotInstalled())

from ecohash.wsgi import application
from django.core.management import call_command
from django.test import Client
from django.urls import get_resolver

call_command("check")
get_resolver()._populate()
assert Client(SERVER_NAME="127.0.0.1").get("/v1/models").status_code == 401
import ecohash.gunicorn_conf
print("started")
"""


def test_the_web_tier_starts_where_torch_is_not_installed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=servers.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip().endswith("started"), done.stderr


def test_the_requirements_of_the_web_tier_name_no_torch() -> None:
    text = (servers.ROOT / "requirements-web.txt").read_text()
    names = {line.partition("==")[0] for line in text.splitlines() if "==" in line}
    assert not names & {"torch", "diffusers", "transformers", "numpy", "accelerate"}
