"""Settings that are loaded in a process of their own."""

import atexit
import json
import os
import subprocess
import sys
import tempfile
from functools import cache
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


# Most of the time to load the settings goes to libraries. A process that has loaded them, and nothing of ours,
# is forked for each start.
LIBRARIES = (
    "celery.app.base celery.schedules celery.signals celery.worker kombu.common kombu.transport.redis"
    " django.conf django.conf.global_settings django.core.exceptions csp.constants environ redis"
)
PROGRAM = """
import json, os, sys
for name in sys.argv[1].split():
    __import__(name)
for line in sys.stdin:
    asked = json.loads(line)
    if child := os.fork():
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    os.environ.clear()
    os.environ.update(asked["environment"])
    for number in (1, 2):
        os.dup2(os.open(asked["outputs"][number - 1], os.O_WRONLY), number)
    break
else:
    sys.exit()
assert not [name for name in sys.modules if name.startswith("ecohash")]
import ecohash.settings as s
print(s.PRODUCTION, s.DEBUG)
"""


@cache
def parent() -> subprocess.Popen[str]:
    """The process that is forked."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, LIBRARIES],
        cwd=servers.ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(process.communicate)
    return process


def start(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Load the settings in a process of their own."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    # Empty, so that a developer's `.env` does not fill them in.
    unset = dict.fromkeys(servers.names_of_settings(), "")
    process = parent()
    assert process.stdin and process.stdout
    with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as err:
        asked = {
            "environment": kept | unset | {"VAR_DIR": str(tmp_path)} | environment,
            "outputs": [out.name, err.name],
        }
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        status = int(process.stdout.readline())
        return subprocess.CompletedProcess([], status, out.read(), err.read())
