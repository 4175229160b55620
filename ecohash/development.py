"""What a development machine makes for itself, so that no setting is needed: secrets, and short socket paths."""

import hashlib
import os
import secrets
import tempfile
from pathlib import Path

# sun_path holds 108 bytes on Linux and 104 on macOS, the closing zero included.
LONGEST_SOCKET_PATH = 103


def kept_secret(var_dir: Path, name: str) -> str:
    """The secret of that name in `var_dir/secrets`, made on first use.

    Two processes that start at once agree: the file is linked into place, so the first one wins.
    """
    folder = var_dir / "secrets"
    path = folder / name
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = folder / f".{name}.{os.getpid()}.{secrets.token_hex(4)}"
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(48))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()


def socket_path(var_dir: Path, name: str) -> Path:
    """`var_dir/name`, or a path under the temp folder, by a hash of var_dir, where that one is too long."""
    path = var_dir / name
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(var_dir)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"ecohash-{digest}" / name
