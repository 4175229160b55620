"""A process beside a running platform that changes its database within milliseconds.

`manage.py shell` would take seconds for each change. This one loads Django once, on the platform's
settings, and then reads a line for each: the name of a function of `changes.py` and its arguments.
"""

import json
import os
import subprocess
import sys
from typing import Any

from tests import servers
from tests.platform import Platform


class Beside:
    """The process, as a test calls it."""

    def __init__(self, platform: Platform) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.attacks.beside"],
            cwd=servers.ROOT,
            env=platform.environment | {"DJANGO_SETTINGS_MODULE": "ecohash.settings"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, name: str, **arguments: Any) -> Any:
        """Have it done; returns when it is in the database, with what the function returned."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps([name, arguments]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the process beside ended in {name}"
        return json.loads(answer)

    def stop(self) -> None:
        self._process.communicate()


def main() -> None:
    # What the platform prints, as for mails, must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    import django

    django.setup()
    from tests.attacks import changes

    for line in sys.stdin:
        name, arguments = json.loads(line)
        answers.write(json.dumps(getattr(changes, name)(**arguments)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
