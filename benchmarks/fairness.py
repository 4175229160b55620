"""How long a customer with one image waits while another has hundreds in the queue.

    python -m benchmarks.fairness [--seconds-per-image 0.2] [--burst 500] [--for 30] [--database-url postgres://…]

Starts a platform of its own, in a folder of its own: one worker, an engine of fixed delay. Customer A sends
a burst; B sends one image every second, all that time. Printed are B's waits until a worker took each up, as
the jobs' rows have them, in images' time: what one image took, from claim to claim, in the same run.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path

from tests import servers
from tests.crowd import ask
from tests.platform import Platform, clean_environment

ROWS = """
import json
from images.models import Generation
rows = Generation.objects.filter(started_at__isnull=False).order_by("started_at")
print(json.dumps([
    [row.organization.name, (row.started_at - row.created_at).total_seconds(), row.started_at.timestamp()]
    for row in rows.select_related("organization")
]))
"""


def start(seconds_per_image: float, database_url: str) -> Platform:
    """A platform with one worker that takes so long for each image."""
    folder = Path(tempfile.mkdtemp(prefix="eco-bench-")).resolve()
    port = servers.free_port()
    platform = Platform(
        folder / "var",
        port,
        clean_environment(
            VAR_DIR=str(folder / "var"),
            PORT=str(port),
            INFERENCE_ENGINE="blank",
            BLANK_ENGINE_SECONDS=str(seconds_per_image),
            DATABASE_URL=database_url,
        ),
    )
    platform.start()
    return platform


def key_of(platform: Platform, name: str) -> str:
    """The key of a new customer without limits and with credit for 10,000 images."""
    words = ("--no-limits", "--credit-micros", "100000000", "--organization", name, "--json")
    made = platform.manage("create_account", f"{name}@example.com", *words)
    return str(json.loads(made.stdout)["api_key"])


def run(platform: Platform, *, burst: int, seconds: float) -> list[tuple[str, float, float]]:
    """(customer, seconds waited, when it was taken up) of each image, in the order in which they were."""
    a, b = key_of(platform, "a"), key_of(platform, "b")
    callers = [threading.Thread(target=ask, args=(platform.port, a)) for _ in range(burst)]
    for caller in callers:
        caller.start()
    time.sleep(1)
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        caller = threading.Thread(target=ask, args=(platform.port, b))
        caller.start()
        callers.append(caller)
        time.sleep(1)
    found = json.loads(platform.manage("shell", "-v", "0", "-c", ROWS).stdout)
    for caller in callers:
        caller.join()
    return [(name, waited, at) for name, waited, at in found]


def main() -> None:
    """Run it and print the figures."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--seconds-per-image", type=float, default=0.2)
    words.add_argument("--burst", type=int, default=500)
    words.add_argument("--for", dest="seconds", type=float, default=30)
    words.add_argument("--database-url", default="", help="an empty PostgreSQL; default: SQLite")
    words.add_argument("--verbose", action="store_true", help="print each claim")
    options = words.parse_args()
    platform = start(options.seconds_per_image, options.database_url)
    try:
        taken = run(platform, burst=options.burst, seconds=options.seconds)
        books = platform.manage("reconcile", check=False)
    finally:
        platform.stop()
        shutil.rmtree(platform.var_dir.parent, ignore_errors=True)
    starts = [at for _, _, at in taken]
    image = statistics.median(later - at for at, later in pairwise(starts))
    waits = sorted(waited for name, waited, _ in taken if name == "b")
    others = sorted(waited for name, waited, _ in taken if name == "a")
    p95 = statistics.quantiles(waits, n=20, method="inclusive")[-1]
    print(f"one image takes {image:.3f} s from claim to claim")
    print(f"A: {len(others)} of {options.burst} taken up, the last after {others[-1]:.1f} s")
    for name, value in (("median", statistics.median(waits)), ("p95", p95), ("longest", waits[-1])):
        print(
            f"B: {name} wait {value:.3f} s = {value / image:.2f} images' time ({len(waits)} images)"
        )
    if options.verbose:
        for name, waited, at in taken:
            print(f"{at - starts[0]:8.3f} {name} {waited:.3f}")
    print(f"reconcile exits {books.returncode}")


if __name__ == "__main__":
    main()
