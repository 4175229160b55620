"""Where a built miniature is kept: one folder per recipe, whole or not there at all."""

import shutil
import tempfile
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

# What can change the bytes that a build writes, besides our own source.
LIBRARIES = ("torch", "diffusers", "transformers", "tokenizers", "safetensors")


def ensure(folder: Path) -> Path:
    """The checkpoint's folder inside `folder`, built first when missing: some seconds, 16 MB.

    Two processes may call this at once: both build, one of the two equal results is kept.
    """
    target = folder / f"miniature-{recipe()}"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _build(target)
    return target


def recipe() -> str:
    """Twelve hex digits that change with anything that goes into a build."""
    digest = sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    for library in LIBRARIES:
        digest.update(f"{library}={version(library)}\0".encode())
    return digest.hexdigest()[:12]


def _build(target: Path) -> None:
    # torch and diffusers take seconds to import: only those who build pay for them.
    from inference.engines import quiet  # noqa: PLC0415

    quiet.hush()
    from inference.miniature import assembly  # noqa: PLC0415

    workshop = Path(tempfile.mkdtemp(dir=target.parent, prefix=".building-"))
    try:
        assembly.save(workshop)
        _open_to_all(workshop)
        workshop.rename(target)
    except OSError:
        # A folder that is not empty cannot be renamed over: someone else finished first.
        if not target.exists():
            raise
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def _open_to_all(folder: Path) -> None:
    """Let other users' workers read it: mkdtemp and safetensors write for the owner alone."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
