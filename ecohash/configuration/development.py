"""Secrets, folders and short socket paths that a development machine makes when no setting names them."""

import errno
import hashlib
import os
import re
import secrets
import tempfile
from pathlib import Path

# sun_path holds 108 bytes on Linux and 104 on macOS, the closing zero included.
LONGEST_SOCKET_PATH = 103
# In an address these begin a query, a fragment or an escape, and two libraries read ours.
SPECIAL_IN_ADDRESSES = re.compile(r"[?#%]")
PRIVATE = 0o700
# Names of this machine, also as containers on it know it. No stranger's DNS can lead one of them here:
# * would let any web page that a developer opens read what the platform answers.
HOSTS = [
    "localhost",
    ".localhost",
    "127.0.0.1",
    "[::1]",
    "host.docker.internal",
    "host.containers.internal",
]


def make_private_folder(path: Path) -> None:
    """That folder readable by this user alone, with the folders above it; one that exists keeps its rights.

    Raises:
        OSError: it cannot be made, or it cannot be written.
    """
    path.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    # Rights say nothing about a read-only or a full disk, and root has all rights.
    with tempfile.NamedTemporaryFile(dir=path, prefix=".probe.") as probe:
        probe.write(b"room" * 1024)


def var_dir_problem(error: OSError) -> str:
    """One sentence: why VAR_DIR cannot be used, and what to do."""
    reason = error.strerror or type(error).__name__
    where = f"{error.filename}: " if error.filename else ""
    return f"VAR_DIR cannot be used ({where}{reason}). Set it to a folder of yours, on a disk with room."


def stored_secret(var_dir: Path, name: str) -> str:
    """The secret of that name in `var_dir/secrets`, made on first use.

    Two processes that start at once agree: the file is linked into place, so the first one wins.

    Raises:
        OSError: it cannot be read or made.
    """
    folder = var_dir / "secrets"
    path = folder / name
    if not path.exists():
        make_private_folder(var_dir)
        folder.mkdir(exist_ok=True, mode=PRIVATE)
        draft = folder / f".{name}.{os.getpid()}.{secrets.token_hex(4)}"
        try:
            draft.touch(mode=0o600)
            draft.write_text(secrets.token_urlsafe(48))
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink(missing_ok=True)
    secret = path.read_text().strip()
    if not secret:
        raise OSError(errno.ENODATA, "the file is empty: remove it", str(path))
    return secret


def socket_path(var_dir: Path, name: str) -> Path:
    """`var_dir/name`, or a path under the temp folder, by a hash of var_dir.

    The other one where the first is too long, or holds what means something else in an address.
    """
    path = var_dir / name
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH and not SPECIAL_IN_ADDRESSES.search(str(path)):
        return path
    digest = hashlib.sha256(os.fsencode(var_dir)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"ecohash-{digest}" / name
