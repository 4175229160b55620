"""Clients of others, each installed in a folder of its own, from the registries and once: `var/clients`.

Their packages disagree with ours and with each other, so none of them is in our environment.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests import servers

FOLDER = Path(os.environ.get("ECOHASH_CLIENTS_DIR") or servers.ROOT / "var" / "clients")
PROGRAMS = Path(__file__).parent / "programs"
INSTALL_SECONDS = 900
RUN_SECONDS = 150
# What a client would send to its maker's servers, or fetch from them, is off, and what is left of it fails at once: no
# proxy listens on port 9. A client that waits for an answer from there would hang without a network.
QUIET = {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "HAYSTACK_TELEMETRY_ENABLED": "False",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "OTEL_SDK_DISABLED": "true",
    **dict.fromkeys(
        ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9"
    ),
    **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost"),
}

# Pinned, so that a failure is a change of ours. To try newer ones, change the versions.
PYTHON_PACKAGES: dict[str, tuple[str, ...]] = {
    "openai-oldest": ("openai==1.0.0", "httpx<0.28"),
    "openai-newest": ("openai==3.57.0",),
    "litellm": ("litellm[proxy]==1.108.7",),
    "langchain": ("langchain-community==0.4.2", "langchain-openai==1.7.4"),
    "llamaindex": (
        "llama-index-core==0.14.25",
        "llama-index-tools-openai-image-generation==0.7.0",
        "openai==3.57.0",
    ),
    "semantic-kernel": ("semantic-kernel==1.45.0",),
    "haystack": ("haystack-ai==3.4.1",),
    "pydantic-ai": ("pydantic-ai-slim[openai]==2.68.0",),
    "agno": ("agno==3.1.10", "openai==3.57.0"),
    # Its toolkits do not import with the second version of mcp.
    "camel": ("camel-ai==0.2.90", "mcp<2"),
    "crewai": ("crewai==1.15.30", "crewai-tools==1.15.30"),
    "griptape": ("griptape==1.13.0", "pillow"),
}
NODE_PACKAGES = {
    "@ai-sdk/openai": "3.0.141",
    "@ai-sdk/openai-compatible": "2.0.92",
    "@langchain/core": "1.4.0",
    "@langchain/openai": "1.5.8",
    "ai": "6.0.326",
    "openai": "6.49.0",
}


def python_of(name: str) -> Path:
    """The interpreter of an environment with that client; it is made where it is not there, or is of other versions."""
    folder = FOLDER / name
    packages = PYTHON_PACKAGES[name]
    if not _is_current(folder, packages):
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip: list[str | Path] = [folder / "bin" / "python", "-m", "pip", "install", "--quiet"]
        _install([*pip, "--no-input", *packages])
        _note_current(folder, packages)
    return folder / "bin" / "python"


def node_folder() -> Path:
    """A folder whose `node_modules` has the JavaScript clients."""
    folder = FOLDER / "node"
    wanted = [f"{name}@{version}" for name, version in NODE_PACKAGES.items()]
    if not _is_current(folder, wanted):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text(json.dumps({"private": True, "type": "module"}))
        npm: list[str | Path] = [
            "npm",
            "install",
            "--prefix",
            folder,
            "--no-audit",
            "--no-fund",
            "--save-exact",
        ]
        _install([*npm, "--no-package-lock", *wanted])
        _note_current(folder, wanted)
    return folder


def run_python(name: str, program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `programs/use_<program>.py` with that client."""
    return _run([python_of(name), PROGRAMS / f"use_{program}.py"], environment)


def run_node(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `programs/use_<program>.mjs` with the JavaScript clients."""
    folder = node_folder()
    # Node looks for packages beside the program, and nowhere else.
    copy = folder / f"use_{program}.mjs"
    copy.write_text((PROGRAMS / copy.name).read_text())
    return _run(["node", copy], environment)


def surroundings(**environment: str) -> dict[str, str]:
    """The environment of a client's process, without settings and keys of ours."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in servers.names_of_settings()
        and not name.startswith(("OPENAI_", "DJANGO_", "PYTHON"))
    }
    return kept | QUIET | environment


def _run(
    words: Sequence[str | Path], environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        env=surroundings(**environment),
        cwd=FOLDER,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )


def _install(words: Sequence[str | Path]) -> None:
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
    )
    assert done.returncode == 0, f"not installed: {done.stderr[-2_000:]}"


def _stamp_of(packages: Sequence[str]) -> str:
    return hashlib.sha256("\n".join([sys.version, *packages]).encode()).hexdigest()


def _is_current(folder: Path, packages: Sequence[str]) -> bool:
    stamp = folder / "installed.sha256"
    return stamp.is_file() and stamp.read_text() == _stamp_of(packages)


def _note_current(folder: Path, packages: Sequence[str]) -> None:
    (folder / "installed.sha256").write_text(_stamp_of(packages))
