#!/usr/bin/env python
"""The command line of EcoHash: `manage.py help` lists what it can do."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ecohash.settings")
    from django.core.management import execute_from_command_line  # noqa: PLC0415 - needs the line above

    from ecohash.configuration import environment  # noqa: PLC0415 - the same

    with environment.exit_if_misconfigured():
        execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
