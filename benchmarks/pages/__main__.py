"""How long the money pages take for an organization with a large month.

    python -m benchmarks.pages [--images 200000] [--batches 40000]

Starts a PostgreSQL of its own and fills it with two months of one organization (fill.sql). Of each page it prints the
median of its requests, elapsed and the CPU of the web process, and the CPU that the database took for one of them.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.books.__main__ import manage, server_cpu
from tests import servers
from tests.platform import clean_environment

FILL = Path(__file__).with_name("fill.sql")
REQUESTS = 15
PAGES = {
    "billing": "/dashboard/billing",
    "invoices": "/dashboard/billing/invoices",
    "statement of the invoice": "/dashboard/billing/invoices/BENCH-1",
    "current period": "/dashboard/billing/invoices/next",
    "usage": "/dashboard/usage",
}
# The first request is not counted: it loads templates.
PAGE = """
import json, time
from statistics import median
from django.conf import settings
from django.test import Client
from accounts.models import User
settings.ALLOWED_HOSTS = ["*"]
client, elapsed, cpu = Client(), [], []
client.force_login(User.objects.get(email="large@example.com"))
for _ in range(%d):
    began, used = time.perf_counter(), time.process_time()
    answer = client.get(%r)
    assert answer.status_code == 200, answer.status_code
    elapsed.append(time.perf_counter() - began)
    cpu.append(time.process_time() - used)
print(json.dumps({"elapsed": median(elapsed[1:]), "cpu": median(cpu[1:])}))
"""


def fill(address: str, **sizes: int) -> None:
    """The organization's two months."""
    with psycopg.connect(address, autocommit=True) as connection:
        [(organization,)] = connection.execute("SELECT id FROM accounts_organization").fetchall()
        words = sizes | {"organization": organization}
        connection.execute((FILL.read_text() % words).encode())
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def measure(environment: dict[str, str], address: str, path: str) -> dict[str, Any]:
    """Seconds of one request: `elapsed`, `cpu` of the web process, `database` CPU."""
    before = server_cpu(address)
    printed = manage(environment, "shell", "-v", "0", "-c", PAGE % (REQUESTS + 1, path))
    figures: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return figures | {"database": (server_cpu(address) - before) / (REQUESTS + 1)}


def main() -> None:
    """Run it and print the figures."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--images", type=int, default=200_000)
    words.add_argument("--batches", type=int, default=40_000)
    options = words.parse_args()
    address = servers.start_postgres()
    with tempfile.TemporaryDirectory(prefix="eco-bench-") as folder:
        environment = clean_environment(VAR_DIR=folder, DATABASE_URL=address)
        manage(environment, "migrate", "-v", "0")
        manage(environment, "create_account", "large@example.com", "--no-limits", "--json")
        fill(address, images=options.images, batches=options.batches)
        print(f"{options.images:,} images a month in {options.batches:,} batches\n")
        print(f"{'':<28}{'elapsed':>11}{'CPU':>11}{'database':>11}")
        for name, path in PAGES.items():
            figures = measure(environment, address, path)
            row = (figures[each] * 1000 for each in ("elapsed", "cpu", "database"))
            print(f"{name:<28}" + "".join(f"{each:>8.0f} ms" for each in row), flush=True)


if __name__ == "__main__":
    main()
