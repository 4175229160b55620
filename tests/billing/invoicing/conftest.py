"""The table of the cases, printed when all have run."""

from collections.abc import Iterator

import pytest

from tests.billing.invoicing.figures import Table


@pytest.fixture(scope="session")
def money_table() -> Iterator[Table]:
    """Each case adds its row. The print is seen with `-s`."""
    table = Table()
    yield table
    print(f"\n\n{table.markdown()}\n")  # noqa: T201 - `make test-money` is run to read it
