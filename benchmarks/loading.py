"""How long a GPU worker's process takes until it can draw, part by part.

    python -m benchmarks.loading [--model FOLDER_OR_HUB_ID] [--times 5]

Each time is a new process, as after a restart: it imports the libraries, loads the checkpoint, and draws
one picture of 1024x1024. The first process of all also reads everything from the disk. The development
tools slow the imports, for transformers and diffusers also import scipy where they find it: what an
operator sees, the Python of an environment with nothing but `requirements.txt` shows.
"""

import argparse
import json
import statistics
import subprocess
import sys

from inference.checkpoints import MINIATURE

ONE_START = """
import json, sys, time
began = time.perf_counter()
from inference.engines.flux import FluxEngine
imported = time.perf_counter()
engine = FluxEngine(sys.argv[1])
engine.load()
loaded = time.perf_counter()
engine.draw("a red circle", width=1024, height=1024, seed=1)
drawn = time.perf_counter()
print(json.dumps([imported - began, loaded - imported, drawn - loaded]))
"""
PARTS = ("libraries imported", "checkpoint loaded", "first picture of 1024x1024")


def main() -> None:
    """Run it and print the figures."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--model", default=str(MINIATURE), help="default: the miniature")
    words.add_argument("--times", type=int, default=5)
    options = words.parse_args()
    starts = []
    for _ in range(options.times):
        command = [sys.executable, "-c", ONE_START, options.model]
        ended = subprocess.run(command, check=True, capture_output=True, text=True)
        starts.append(json.loads(ended.stdout))
    for part, seconds in zip(PARTS, zip(*starts, strict=True), strict=True):
        print(
            f"{part}: median {statistics.median(seconds):.2f} s "
            f"({min(seconds):.2f} to {max(seconds):.2f})"
        )


if __name__ == "__main__":
    main()
