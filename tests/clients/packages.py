"""Packages of clients, each in a folder of its own that is kept between runs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests import servers


def folder_of(name: str) -> Path:
    """Where the packages of that client are: in `ECOHASH_CLIENTS_DIR`, else in var/clients."""
    root = os.environ.get("ECOHASH_CLIENTS_DIR") or servers.ROOT / "var" / "clients"
    return Path(root) / name


def node_modules(name: str, *packages: str) -> Path:
    """A folder in which Node finds these packages of npm; installed where they are not yet."""
    folder = folder_of(name)
    if not is_complete(folder, packages):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true}')
        words = ["npm", "install", "--no-audit", "--no-fund", "--silent", *packages]
        subprocess.run(words, cwd=folder, check=True)
        note_complete(folder, packages)
    return folder


def python_with(name: str, *packages: str) -> Path:
    """The Python of a virtual environment with these packages; made where it is not there yet."""
    folder = folder_of(name)
    python = folder / "bin" / "python"
    if not is_complete(folder, packages):
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        words = ["-m", "pip", "install", "-q", "--disable-pip-version-check", *packages]
        subprocess.run([python, *words], check=True)
        note_complete(folder, packages)
    return python


def is_complete(folder: Path, packages: tuple[str, ...]) -> bool:
    mark = folder / "complete.txt"
    return mark.is_file() and mark.read_text() == " ".join(packages)


def note_complete(folder: Path, packages: tuple[str, ...]) -> None:
    (folder / "complete.txt").write_text(" ".join(packages))
