"""The audit stands beside the package, at the repository's root, and is no part of it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))
