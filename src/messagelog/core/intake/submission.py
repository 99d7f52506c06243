"""One request that is being logged: its user, its contact, and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from messagelog.compose import LogFormat, TextSettings, write_text_settings
from messagelog.connectors import Connector
from messagelog.core.contacts.phone_numbers import MOST_FORMATS
from messagelog.core.contacts.resolve import ChosenContact
from messagelog.core.delivery.participants import Sides
from messagelog.core.delivery.payload import seal_rows
from messagelog.core.intake.answer import (
    Answer,
    answer,
    nothing_to_do,
    nothing_to_log,
    refusal_answer,
    with_changes,
)
from messagelog.core.intake.plan import RequestPlan
from messagelog.core.users.directory import User
from messagelog.core.users.settings import Locale
from messagelog.messages import LogRequest
from messagelog.storage import LogRequestWork, LogState, Sealer
from messagelog.storage.records.journal import Facts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from messagelog.core.delivery.payload import Item
    from messagelog.storage import JournalLookup, NewRow
    from messagelog.storage.records.journal import RowStatus


class Submission(msgspec.Struct, frozen=True, eq=False):
    """A request with its plan, and the contact that it is logged for.

    `locale` is the language and the time zone that the user reads in, `facts` what the records say that may change, by
    the ids of the items.
    """

    connector: Connector
    user: User
    request: LogRequest
    contact: ChosenContact
    plan: RequestPlan
    sealer: Sealer
    locale: Locale
    facts: Mapping[str, Facts]

    @property
    def ids(self) -> list[str]:
        """The ids of everything in the request, oldest first."""
        return [item.id for item in self.plan.items]

    def items_to_log(self, known: JournalLookup) -> list[Item]:
        """Return what is not logged yet: unknown messages, or a newer snapshot of a shared thread.

        An empty thread makes no activity, but updates one that is there.
        """
        if self.plan.key.shared:
            if known.version is None:
                return [item for item in self.plan.items if item.thread is None or not item.thread.is_empty]
            return [item for item in self.plan.items if item.version > known.version]
        return [item for item in self.plan.items if item.id in known.unlogged]

    def changes(self, known: JournalLookup) -> dict[str, list[Item]]:
        """Return the logged messages that have changed, by the `client_log_id` of the log that they are in."""
        found: dict[str, list[Item]] = {}
        if not self.connector.takes_changes and self.connector.log_format is LogFormat.CUSTOM:
            return found
        items = {item.id: item for item in self.plan.items}
        for each in known.facts:
            if self.facts[each.id].advance(each.facts):
                found.setdefault(each.client_log_id, []).append(items[each.id])
        return found

    @property
    def has_facts(self) -> bool:
        """True if one of the records says something that may have changed since it was logged."""
        return any(facts.told for facts in self.facts.values())

    def conflicting_contact(self, known: JournalLookup) -> tuple[str, str] | None:
        """Return another contact (id, name) that already holds the conversation log, or None."""
        if known.contact_id is None or known.contact_id == self.contact.id:
            return None
        held = known.linked or known.state is LogState.PARKED
        return (known.contact_id, known.contact_name or "") if held else None

    def rows(self, items: Sequence[Item] | None = None) -> tuple[NewRow, ...]:
        """Return the journal rows of these items, sealed; by default of all items."""
        items = self.plan.items if items is None else items
        contact = (self.contact.name, self.contact.type)
        group = self.request.is_group
        sides = Sides(
            user_name=self.user.name,
            country=self.locale.country,
            formats=self.request.formats[:MOST_FORMATS] if group else (),
        )
        return seal_rows(self.sealer, self.plan.key, self.request, contact, sides, items, self.facts)

    def work(self, wanted: Sequence[Item]) -> LogRequestWork:
        """Return what is to be journalled for these items."""
        text_settings = TextSettings(
            format=self.connector.log_format,
            zone=self.locale.zone,
            language=self.locale.language,
            limit=self.connector.body_limit,
            measure=self.connector.body_measure,
            appends=self.connector.append_only,
            selected=bool(self.request.selected_ids),
        )
        return LogRequestWork(
            key=self.plan.key,
            conversation_id=self.plan.conversation_id,
            contact_id=self.contact.id,
            contact_type=self.contact.type,
            contact_name=self.contact.name,
            text_settings=write_text_settings(text_settings),
            user_id=self.user.id,
            rows=self.rows(wanted),
        )

    # ---------------------------------------------------------------------------------------- answers

    @property
    def refusal(self) -> Answer | None:
        """The answer if no selected message can be logged; None if some can."""
        if self.request.is_shared:
            return refusal_answer("Messages of a shared conversation are logged together, not one by one.")
        return None if self.plan.items or self.plan.refused else nothing_to_log()

    def conflict_answer(self, contact: tuple[str, str]) -> Answer:
        """Say that another contact holds the conversation log, and that nothing was written."""
        id_, name = contact
        who = f"{name} ({id_})" if name else id_
        return refusal_answer(
            f"This conversation is already logged in {self._crm} for the contact {who}. "
            "Nothing was written to another contact."
        )

    def nothing_wanted(self) -> Answer:
        """Say that all is logged, or of a kind that the CRM does not take; or that nothing is left to be logged."""
        if self.plan.refused:
            return answer([], {}, crm=self._crm, refused=len(self.plan.refused))
        # Also of no items at all: then nothing is left.
        is_empty = all(item.thread is not None and item.thread.is_empty for item in self.plan.items)
        return nothing_to_log() if is_empty else nothing_to_do()

    def answer(
        self,
        wanted: Sequence[Item],
        changes: Sequence[str],
        reports: Mapping[str, RowStatus],
        known: JournalLookup,
        *,
        calling: bool,
    ) -> Answer:
        """Return the answer about the wanted items. A newer snapshot of a logged thread brings no new log id.

        `changes` are the ids of the rows for the changes of logged messages, which stay logged. `calling` as for
        `answer.answer`.
        """
        about_wanted: Answer | None = None
        if wanted:
            key = self.plan.key
            about_wanted = answer(
                [item.id for item in wanted],
                reports,
                crm=self._crm,
                refused=len(self.plan.refused),
                fresh=frozenset() if key.shared and known.linked else None,
                shown=key.display_id,
                calling=calling,
            )
        return with_changes(about_wanted, changes, reports, crm=self._crm)

    @property
    def _crm(self) -> str:
        return self.connector.display_name or self.connector.name
