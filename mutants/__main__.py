"""Run each mutant's tests against a copy of the source without the safeguard, and print the results."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from mutants.catalogue import CATALOGUE, Mutant

ROOT = Path(__file__).parent.parent
SECONDS = 300


def main() -> int:
    """Run the mutants named on the command line, or all; return how many no test noticed."""
    chosen = [each for each in CATALOGUE if not sys.argv[1:] or each.name in sys.argv[1:]]
    lines = ["| taken out | noticed by |", "|---|---|"]
    survived = 0
    for mutant in chosen:
        failing = _failing_tests(mutant)
        survived += not failing
        lines.append(f"| {mutant.name} | {', '.join(f'`{each}`' for each in failing) or '**nothing**'} |")
        print(lines[-1], flush=True)  # noqa: T201 - the tool's output
    print("\n".join(["", *lines]))  # noqa: T201 - as above
    return survived


def _failing_tests(mutant: Mutant) -> list[str]:
    """Return the names of the tests that fail, without their parameters; at most three."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source)
        for file, old, new in mutant.edits:
            path = source / "messagelog" / file
            text = path.read_text()
            if text.count(old) != 1:
                raise SystemExit(f"{mutant.name}: its text is {text.count(old)} times in {file}")
            path.write_text(text.replace(old, new))
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "--no-header",
            "-p",
            "no:cacheprovider",
            "--timeout",
            "60",
        ]
        done = subprocess.run(  # noqa: S603 - our own command
            [*command, *mutant.tests],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(source)},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    if done.returncode not in {0, 1}:
        raise SystemExit(f"{mutant.name}: the tests did not run\n{done.stdout[-2000:]}")
    failed = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("FAILED ")]
    return sorted({name.partition("[")[0].rpartition("::")[2] for name in failed})[:3]


if __name__ == "__main__":
    sys.exit(main())
