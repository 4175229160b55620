"""Settings that are loaded in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

from tests import servers

SECRET = "b2b7b1e0c63f3f9d41f6a2c05d8c7e9a"
PEPPER = "1:9f0c62d7a1be48350b6d1c7f2e83a94d"
REAL = {
    "SECRET_KEY": SECRET,
    "KEY_PEPPER": PEPPER,
    "EMAIL_URL": "smtp://mail",
    "STRIPE_SECRET_KEY": "sk_live_abc",
    "FLUX_MODEL": "/srv/flux",
    "S3_BUCKET": "pictures",
    "REDIS_URL": "redis://cache",
}
IN_PRODUCTION = REAL | {
    "ECOHASH_ENV": "production",
    "BASE_URL": "https://api.example.com",
    "DATABASE_URL": "postgres://db/ecohash",
    "TRUSTED_PROXIES": "1",
    "AWS_DEFAULT_REGION": "eu-south-1",
}


def start(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Load the settings in a process of their own."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    # Empty, so that a developer's `.env` does not fill them in.
    unset = dict.fromkeys(servers.names_of_settings(), "")
    return subprocess.run(
        [sys.executable, "-c", "import ecohash.settings as s; print(s.PRODUCTION, s.DEBUG)"],
        env=kept | unset | {"VAR_DIR": str(tmp_path)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
