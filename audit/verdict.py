"""The verdict of pip-audit's reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CLEAN: Final = 0
ADVISORIES: Final = 1
NOT_ASKED: Final = 3


@dataclass(frozen=True)
class Verdict:
    """Checked packages; advisories (package, version, id, versions with a fix); packages without an answer."""

    asked: frozenset[str] = frozenset()
    advisories: frozenset[tuple[str, str, str, str]] = frozenset()
    excepted: frozenset[str] = frozenset()
    skipped: frozenset[str] = frozenset()

    def __add__(self, other: Verdict) -> Verdict:
        return Verdict(
            self.asked | other.asked,
            self.advisories | other.advisories,
            self.excepted | other.excepted,
            self.skipped | other.skipped,
        )

    @property
    def status(self) -> int:
        """The exit code. A known advisory counts more than a missing answer."""
        if self.advisories:
            return ADVISORIES
        return NOT_ASKED if self.skipped or not self.asked else CLEAN

    def lines(self, exceptions: Mapping[str, str]) -> Iterator[str]:
        """Return the verdict in words."""
        for name, version, id_, fixed in sorted(self.advisories):
            yield f"ADVISORY {id_}: {name} {version}" + (f", mended in {fixed}" if fixed else "")
        for id_ in sorted(self.excepted):
            yield f"excepted {id_}: {exceptions[id_]}"
        if not self.skipped and self.asked:
            yield f"{len(self.asked)} packages were asked about."
            yield from (f"not needed any more: {id_}" for id_ in sorted(exceptions.keys() - self.excepted))
            return
        yield "NOT AUDITED: the advisory service did not say anything about these. This is no good news."
        yield from sorted(self.skipped)


def verdict_of(report: Any, exceptions: Mapping[str, str]) -> Verdict:
    """Return the verdict of a report; None stands for a report that could not be made."""
    if report is None:
        return Verdict(skipped=frozenset({"a whole file: pip-audit gave no report"}))
    asked, found, excepted, skipped = set(), set(), set(), set()
    for each in report["dependencies"]:
        if "skip_reason" in each:
            skipped.add(each["name"])
            continue
        asked.add(each["name"])
        for advisory in each["vulns"]:
            names = {advisory["id"], *advisory.get("aliases", ())}
            if known := names & exceptions.keys():
                excepted |= known
            else:
                fixed = ", ".join(advisory.get("fix_versions", ()))
                found.add((each["name"], each["version"], advisory["id"], fixed))
    return Verdict(frozenset(asked), frozenset(found), frozenset(excepted), frozenset(skipped))


def exceptions_in(text: str) -> dict[str, str]:
    """Return reasons by the ids of advisories. `ValueError` for one without a reason."""
    found = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        id_, _, reason = line.strip().partition(" ")
        if not reason.strip():
            raise ValueError(f"{id_}: an exception needs a reason")
        found[id_] = reason.strip()
    return found
