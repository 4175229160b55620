"""How long the books take to check themselves, to close a month and to be shown.

    python -m benchmarks.books [--holds 1000000]

Starts a PostgreSQL of its own and fills it with a year of books (fill.sql). Each figure comes from a process of
its own, whose peak memory is printed: it should not grow with the books. CPU is that of the process and of the
database together, which other work on the machine does not change; of a page it is that of six.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from tests import servers
from tests.platform import clean_environment

FILL = Path(__file__).with_name("fill.sql")
PREFIX = """
import json, resource, time
from datetime import date
from ecohash.reconcile import closing, running
began, cpu, found = time.perf_counter(), time.process_time(), []
"""
SUFFIX = """
print(json.dumps({
    "seconds": time.perf_counter() - began, "found": found,
    "cpu": time.process_time() - cpu,
    "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}))
"""
# The log stands on stdout too: the figures are its last line.
NOTHING = ""
FULL = "running.run(found.append, full=True)"
DAILY = "running.run(found.append)"
CLOSE_ONE = """
closing.LONGEST_SECONDS = 0.001
closing.close_due()
"""
CLOSE_ALL = "closing.close_due()"
PAGE = """
from django.conf import settings
from django.test import Client
from accounts.models import Organization, User
settings.ALLOWED_HOSTS = ["*"]
client, times = Client(), []
client.force_login(User.objects.get(email="large@example.com"))
for _ in range(6):
    start = time.perf_counter()
    answer = client.get(%r)
    times.append(time.perf_counter() - start)
    found = [] if answer.status_code == 200 else [answer.status_code]
began = time.perf_counter() - sorted(times[1:])[2]
"""


def manage(environment: dict[str, str], *words: str) -> str:
    """What a command prints; its process has nothing else to do."""
    command = [sys.executable, "manage.py", *words]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(ended.stderr[-2_000:])
    return ended.stdout


def measure(environment: dict[str, str], code: str) -> dict[str, Any]:
    """Seconds, peak MiB and differences of that code, in a process of its own."""
    printed = manage(environment, "shell", "-v", "0", "-c", PREFIX + code + SUFFIX)
    figures: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return figures


def server_cpu(address: str) -> float:
    """CPU seconds of all the server's processes that have ended, as Linux counts them; each connection is one."""
    # A connection's process ends a moment after its client.
    time.sleep(2)
    with psycopg.connect(address, autocommit=True) as connection:
        [(folder,)] = connection.execute("SHOW data_directory").fetchall()
    pid = Path(folder, "postmaster.pid").read_text().split()[0]
    fields = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def fill(address: str, holds: int) -> None:
    """The books of a year."""
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute((FILL.read_text() % {"holds": holds}).encode())
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        for table in (
            "billing_hold",
            "billing_ledgerentry",
            "billing_usagebatch",
            "billing_usagehour",
        ):
            [(count,)] = connection.execute(f"SELECT count(*) FROM {table}").fetchall()  # noqa: S608
            print(f"{table}: {count:,} rows")


def main() -> None:
    """Run it and print the figures."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--holds", type=int, default=1_000_000)
    options = words.parse_args()
    address = servers.start_postgres()
    with tempfile.TemporaryDirectory(prefix="eco-bench-") as folder:
        environment = clean_environment(VAR_DIR=folder, DATABASE_URL=address)
        manage(environment, "migrate", "-v", "0")
        manage(environment, "create_account", "large@example.com", "--no-limits", "--json")
        began = time.perf_counter()
        fill(address, options.holds)
        print(f"filled with {options.holds:,} holds in {time.perf_counter() - began:.0f} s\n")
        print(f"{'':<42} {'elapsed':>10} {'CPU':>10} {'peak':>10}")
        last_month = f"{datetime.now(UTC).replace(day=1) - timedelta(days=1):%Y-%m}"
        steps = {
            "nothing (the process alone)": NOTHING,
            "reconcile, no month closed": DAILY,
            "close the first month": CLOSE_ONE,
            "close the other months that are over": CLOSE_ALL,
            "reconcile, as each day": DAILY,
            "reconcile --full": FULL,
            "billing page, 1 organization in 5 images": PAGE % "/dashboard/billing",
            "usage page of last month, the same": PAGE % f"/dashboard/usage?month={last_month}",
        }
        for name, code in steps.items():
            before = server_cpu(address)
            figures = measure(environment, code)
            cpu = figures["cpu"] + server_cpu(address) - before
            print(
                f"{name:<42} {figures['seconds']:8.2f} s {cpu:8.2f} s {figures['mib']:6.0f} MiB",
                flush=True,
            )
            for line in figures["found"][:3]:
                print(f"    {line}")


if __name__ == "__main__":
    main()
