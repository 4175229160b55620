"""`.env.example` and the settings name the same things, and agree about what is the default."""

import itertools
import os
import re
import subprocess
import sys

from tests import servers

# Read by boto3 itself, under its own names.
BOTO3 = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
READ = re.compile(
    r"""(?:setting|number|seconds|switch|choice|address|folder|hosts|names|days|mail_server)\(\s*"([A-Z0-9_]+)\""""
)


def test_every_setting_is_explained_and_every_explanation_has_a_setting() -> None:
    configuration = ("object_store", "retention", "spending")
    files = ["settings.py", *(f"configuration/{name}.py" for name in configuration)]
    source = "".join((servers.ROOT / "ecohash" / file).read_text() for file in files)
    assert servers.names_of_settings() - BOTO3 == set(READ.findall(source))


def test_each_setting_stands_under_a_comment() -> None:
    lines = (servers.ROOT / ".env.example").read_text().splitlines()
    for before, line in itertools.pairwise(lines):
        if servers.SETTING.match(line) and "AWS_" not in line:
            assert before.startswith("# "), line


def test_the_values_in_the_example_are_the_defaults_of_the_settings() -> None:
    """To take away every # changes nothing."""
    text = (servers.ROOT / ".env.example").read_text()
    shown = dict(re.findall(r"^#([A-Z0-9_]+)=(.*)$", text, re.MULTILINE))
    shown["VAR_DIR"] = os.environ["VAR_DIR"]
    assert settings_with(shown) == settings_with({})


def settings_with(changed: dict[str, str]) -> str:
    """Every setting as text, in a fresh process whose VAR_DIR holds the secrets already."""
    program = (
        "from ecohash import settings as s; "
        "print({n: str(getattr(s, n)) for n in sorted(dir(s)) if n.isupper() and n != 'LOGGING'}, "
        "s.LOGGING['root'])"
    )
    environment = (
        os.environ | dict.fromkeys(servers.names_of_settings() - {"VAR_DIR"}, "") | changed
    )
    words = [sys.executable, "-c", program]
    done = subprocess.run(
        words, cwd=servers.ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout
