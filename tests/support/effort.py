"""How much the long suites try: a little in `make test` and `make test-system`, much in `make prove`.

What is drawn in `make prove` is drawn from a seed that is another one each time, and is printed at the end.
"""

from __future__ import annotations

import os
import random
from typing import Final

PROVE: Final = bool(os.environ.get("MESSAGELOG_PROVE"))
"""Whether much is tried."""

ROUNDS: Final = int(os.environ.get("MESSAGELOG_ROUNDS", "0"))
"""How often a test with real processes does what it is about; 0 leaves it to the test, which stays quick."""

_PAIRS: Final = os.environ.get("MESSAGELOG_PAIRS", "300" if PROVE else "2")

PAIRS: Final = None if _PAIRS == "all" else int(_PAIRS)
"""How many schedules of two crashes are drawn for each scenario, CRM and database; None: all that there are."""

ONE_OF: Final = 5
"""In `make test` the slower of the two databases has one of so many schedules of one mishap."""

SEED: Final = os.environ.setdefault("MESSAGELOG_SEED", str(random.randrange(1_000_000)))
"""What the draws of `make prove` begin with. The processes of a test run inherit it from the first."""


def random_from_seed(name: str) -> random.Random:
    """What draws for a test: in `make prove` by the seed, otherwise the same each time."""
    return random.Random(f"{name} {SEED}" if PROVE else name)
