"""`make audit`: pip-audit over all pinned requirements, with an answer that cannot be mistaken.

pip-audit succeeds when it has no answer about a package. Here that is a failure of its own: 0 means that there is an
answer about each pinned version and none has an advisory; 1 that one has; 3 that an answer is missing.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from audit.verdict import Verdict, exceptions_in, verdict_of

_HERE: Final = Path(__file__).parent
_REQUIREMENTS: Final = _HERE.parent / "requirements"


def main() -> int:
    """Audit each file of requirements, and print the results."""
    exceptions = exceptions_in((_HERE / "exceptions.txt").read_text("utf-8"))
    verdict = Verdict()
    for file in sorted(_REQUIREMENTS.glob("*.txt")):
        verdict += verdict_of(_report(file), exceptions)
    for line in verdict.lines(exceptions):
        print(line)  # noqa: T201 - what the command is for
    return verdict.status


def _report(file: Path) -> Any:
    """Return pip-audit's report on a file, without installing anything; None when there is none."""
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--require-hashes",
        "--disable-pip",
        "--progress-spinner=off",
    ]
    asked = subprocess.run(  # noqa: S603 - our own command
        [*command, "--format=json", "-r", str(file)], capture_output=True, text=True, check=False
    )
    try:
        return json.loads(asked.stdout)
    except ValueError:
        sys.stderr.write(asked.stderr)
        return None


if __name__ == "__main__":
    sys.exit(main())
