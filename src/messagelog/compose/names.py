"""The names of a shared thread's participants, gathered from all of its records."""

from collections.abc import Iterable, Sequence

from messagelog.compose.clean import clean_line
from messagelog.compose.model import Participants
from messagelog.compose.senders import is_contact, same_number
from messagelog.messages import Entity, Party, Thread


class Names:
    """The names of a thread's participants. Some records have only an extension's id, and others its name."""

    def __init__(self, thread: Thread, participants: Participants) -> None:
        self._participants = participants
        self._guest = thread.guest_party
        self._by_extension: dict[str, str] = {}
        owner = thread.owner
        parties = [
            Party(name=owner.name, extension_id=owner.extension_id) if owner else None,
            thread.assignee,
        ]
        for entity in thread.entities:
            parties += (
                entity.author,
                entity.from_,
                entity.initiator,
                entity.assignee,
                entity.previous_assignee,
            )
        for someone in parties:
            if someone and someone.extension_id and (name := clean_line(someone.name)):
                self._by_extension.setdefault(someone.extension_id, name)
        self.owner = self.of(parties[0]) if owner else ""

    def of(self, someone: Party | None) -> str:
        """Return a person's name, else extension or number; empty if none is known."""
        if someone is None:
            return ""
        named = self._name(someone)
        return named or clean_line(someone.extension_number or someone.phone_number)

    def first(self, *parties: Party | None) -> str:
        """Return the first known name of one person's parties, else an extension; a number is the inbox's."""
        known = [someone for someone in parties if someone is not None]
        names = [self._name(someone) for someone in known]
        return next(filter(None, (*names, *(clean_line(each.extension_number) for each in known))), "")

    def is_outbound(self, entity: Entity) -> bool:
        """Return whether our side sent it. Without a direction, the sender decides, and only our side has authors."""
        if entity.direction:
            return entity.direction.casefold() == "outbound"
        sender = entity.author or entity.from_
        return sender is not None and not self._is_customer(sender)

    def agents(self, thread: Thread, alive: Sequence[Entity]) -> list[str]:
        """Return all who took part on our side, each once; never the customer."""
        seen: set[str | None] = set()
        names = []
        for someone in dict.fromkeys(self._our_side(thread, alive)):
            name = self.first(someone)
            keys = {name.casefold(), someone.extension_id, someone.phone_number} - {None, ""}
            if not name or self._is_customer(someone):
                continue
            if not keys & seen:
                names.append(name)
            seen |= keys
        return names

    def _name(self, someone: Party) -> str:
        return clean_line(someone.name) or self._by_extension.get(someone.extension_id or "", "")

    def _is_customer(self, someone: Party) -> bool:
        """Return whether a party is the customer: by number; by name only if nothing else is known."""
        if is_contact(someone, self._participants):
            return True
        if self._guest and same_number(someone.phone_number, self._guest.phone_number):
            return True
        if someone.extension_id or someone.extension_number or someone.phone_number:
            return False
        customers = (self._participants.contact_name, self._guest.name if self._guest else None)
        name = clean_line(someone.name).casefold()
        return bool(name) and name in {clean_line(each).casefold() for each in customers}

    def _our_side(self, thread: Thread, alive: Sequence[Entity]) -> Iterable[Party]:
        for entity in alive:
            ours = entity.record_type == "AliveNote" or self.is_outbound(entity)
            sender = (entity.author or entity.from_) if ours else None
            yield from (each for each in (sender, entity.initiator, entity.assignee) if each)
        if thread.assignee:
            yield thread.assignee
