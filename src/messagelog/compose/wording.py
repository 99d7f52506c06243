"""The wording, without any markup: the texts of the message catalogs, and no other text in any language.

Every fixed word is the argument of `gettext`, `ngettext` or `_marked`, so that tools find it.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Final

from messagelog.compose.catalog import catalog_of
from messagelog.compose.model import TextSettings
from messagelog.compose.times import day, parts_of, stamp
from messagelog.messages import MessageKind

MOST_NAMED: Final = 10
"""The most names of other participants: a heading has to fit into small limits too."""

MOST_PAGES: Final = 100_000
"""The most pages of a fax: more is an error in the record, and is not shown."""

_COUNTED: Final = (MessageKind.SMS, MessageKind.VOICEMAIL, MessageKind.FAX, MessageKind.OTHER)
_A_NUMBER: Final = re.compile(r"[0-9]{1,9}")


def _gettext_noop(text: str) -> str:
    """Mark a text for the catalogs that is looked up elsewhere."""
    return text


_SUBJECTS: Final = {
    (MessageKind.SMS, None): _gettext_noop("SMS conversation with {name}"),
    (MessageKind.VOICEMAIL, "inbound"): _gettext_noop("Voicemail from {name}"),
    (MessageKind.VOICEMAIL, "outbound"): _gettext_noop("Voicemail to {name}"),
    (MessageKind.VOICEMAIL, None): _gettext_noop("Voicemails with {name}"),
    (MessageKind.FAX, "inbound"): _gettext_noop("Fax from {name}"),
    (MessageKind.FAX, "outbound"): _gettext_noop("Fax to {name}"),
    (MessageKind.FAX, None): _gettext_noop("Faxes with {name}"),
    (MessageKind.THREAD, None): _gettext_noop("Shared SMS conversation with {name}"),
}

Reason = str
"""Why something was not delivered: a key of `_REASONS`."""

OPTED_OUT: Final[Reason] = "opted out"

_REASONS: Final[dict[Reason, str]] = {
    # of texts
    OPTED_OUT: _gettext_noop("the recipient has opted out of text messages"),
    "not a mobile": _gettext_noop("the number is a landline, not valid, or takes no text messages"),
    "unreachable": _gettext_noop("the recipient could not be reached"),
    "spam": _gettext_noop("it was blocked as spam"),
    "sender is spam": _gettext_noop("the number that sent it is blocked as a source of spam"),
    "sender not set up": _gettext_noop("the number that sent it is not set up for text messages"),
    "sender not verified": _gettext_noop("the number that sent it is not verified"),
    "carrier refused": _gettext_noop("the carrier refused it without a reason"),
    "carrier cannot": _gettext_noop("the carrier does not take this kind of message"),
    "carrier": _gettext_noop("the carrier had a fault"),
    "no report": _gettext_noop("the carrier did not say whether it arrived"),
    "expired": _gettext_noop("it was too old when its turn came"),
    "too long": _gettext_noop("it was too long"),
    "malformed": _gettext_noop("the carrier could not take it as it was written"),
    "files too large": _gettext_noop("its files were too large"),
    "shortened link": _gettext_noop("it was blocked because of a shortened link"),
    "short code": _gettext_noop("the recipient takes no messages from short numbers"),
    "limit": _gettext_noop("more text messages were sent than the carriers allow"),
    # of both
    "RingCentral": _gettext_noop("RingCentral had a fault"),
    # of faxes
    "no answer": _gettext_noop("nobody answered"),
    "no fax machine": _gettext_noop("there is no fax machine at this number"),
    "line busy": _gettext_noop("the line was busy"),
    "hung up": _gettext_noop("the other side hung up"),
    "call declined": _gettext_noop("the call was declined"),
    "call failed": _gettext_noop("the call failed"),
    "too many calls": _gettext_noop("there were too many calls on the line"),
    "wrong number": _gettext_noop("the number is not valid"),
    "number blocked": _gettext_noop("the number is blocked"),
    "number forbidden": _gettext_noop("faxes to this number are not allowed"),
    "abroad off": _gettext_noop("calls abroad are switched off"),
    "country off": _gettext_noop("calls to this country are switched off"),
    "too many pages": _gettext_noop("there were too many pages"),
    "partially": _gettext_noop("only some of the pages arrived"),
    "not rendered": _gettext_noop("the document could not be turned into a fax"),
    "queued again": _gettext_noop("it was put back into the queue"),
    "no credit": _gettext_noop("there was not enough credit"),
    "no call time": _gettext_noop("there was no calling time left"),
    "billing": _gettext_noop("the billing failed"),
    "account suspended": _gettext_noop("the account is suspended"),
    "faxes forbidden": _gettext_noop("sending faxes is not allowed"),
    "no permission": _gettext_noop("the sender may not send faxes"),
    "no permission abroad": _gettext_noop("the sender may not send faxes abroad"),
    "no user": _gettext_noop("the sender was not found"),
    "no reason": _gettext_noop("RingCentral gave no reason"),
}
_MEDIA: Final = {
    "recording": _gettext_noop("Voicemail"),
    "fax": _gettext_noop("Fax"),
    "image": _gettext_noop("Picture"),
    "video": _gettext_noop("Video"),
    "audio": _gettext_noop("Audio"),
    "contact": _gettext_noop("Contact card"),
    "calendar": _gettext_noop("Calendar entry"),
    "pdf": _gettext_noop("PDF"),
    "document": _gettext_noop("Document"),
    "spreadsheet": _gettext_noop("Spreadsheet"),
    "presentation": _gettext_noop("Presentation"),
    "text": _gettext_noop("Text file"),
    "archive": _gettext_noop("Archive"),
    "file": _gettext_noop("File"),
}
_STATUSES: Final = {"open": _gettext_noop("open"), "resolved": _gettext_noop("resolved")}
_STATUS_REASONS: Final = {
    "manual": _gettext_noop("by hand"),
    "threadexpired": _gettext_noop("after a time without messages"),
    "ownerdeleted": _gettext_noop("because its owner was deleted"),
    "ownerphonenumberdeleted": _gettext_noop("because its owner's number was deleted"),
}
_A_CODE: Final = re.compile(r"[A-Za-z]+[a-z0-9]+[A-Z]\w*|\w+_\w+|[A-Z0-9]{2,}(?:[-_]\w+)+")
"""A code that no person would write, such as `ThreadExpired` or `SMS-UP-413`."""


class Words:
    """The wording in one language."""

    def __init__(self, language: str) -> None:
        self.language = language
        catalog = catalog_of(language)
        self.gettext = catalog.gettext
        self.ngettext = catalog.ngettext
        gettext = self.gettext
        self.unknown_agent = gettext("Unknown agent")
        self.unknown_contact = gettext("Unknown contact")
        self.unknown_time = gettext("time unknown")
        self.no_text = gettext("(no text)")
        self.comma = gettext(", ")
        self._conversation = gettext("Conversation with {name}")
        self._lost = gettext("Conversation log")
        self._messages = gettext("Messages: {counts}")
        self.urgent_voicemail = gettext("Urgent voicemail")
        self._media = {kind: gettext(name) for kind, name in _MEDIA.items()}

    # ------------------------------------------------------------------------------------ whole activities

    def subject(self, kinds: Collection[MessageKind], directions: Collection[str], name: str) -> str:
        """Return the subject of a conversation whose messages are of these kinds and directions."""
        kind = next(iter(kinds)) if len(kinds) == 1 else MessageKind.OTHER
        way = next(iter(directions)) if len(directions) == 1 else None
        pattern = _SUBJECTS.get((kind, way)) or _SUBJECTS.get((kind, None))
        return self.gettext(pattern).format(name=name) if pattern else self._conversation.format(name=name)

    def subject_with_day(self, subject: str, day: str) -> str:
        """Return a subject with its day, as people look for it in a CRM."""
        return self.gettext("{subject} - {day}").format(subject=subject, day=day)

    def title(self, name: str) -> str:
        """Return the title of a heading: the same whatever messages come later."""
        return self._conversation.format(name=name)

    def thread_title(self, name: str) -> str:
        """Return the title of a shared thread, as subject and as heading."""
        return self.gettext("Shared SMS conversation with {name}").format(name=name)

    def lost_title(self) -> str:
        """Return the title of a heading in a body where nothing of ours is left."""
        return self._lost

    def is_title(self, text: str) -> bool:
        """Whether a line begins like one of our headings, with any name."""
        return text.startswith((self._conversation.partition("{")[0], self._lost))

    def continuation(self, text: str) -> str:
        """Return the subject or title of an activity that continues a full one."""
        return self.gettext("{text} (continued)").format(text=text)

    # ---------------------------------------------------------------------------------- lines of a heading

    def zone(self, zone: str) -> str:
        """Return the line with the zone of the times, by which our heading is also found again."""
        return self.gettext("Times in {zone}").format(zone=zone)

    def agent(self, name: str) -> str:
        """Return the line with our side's name."""
        return self.gettext("Agent: {name}").format(name=name)

    def others(self, names: Sequence[str], most: int) -> str:
        """Return the line with the other participants, a few by name."""
        return self.gettext("Also taking part: {names}").format(names=self._names(names, most))

    def _names(self, names: Sequence[str], most: int) -> str:
        listed = self.comma.join(names[:most])
        more = len(names) - most
        if more <= 0:
            return listed
        words = self.ngettext("{names} and {n} other", "{names} and {n} others", more)
        return words.format(names=listed, n=more)

    def days(self, days: Sequence[str]) -> str:
        """Return the line with the first and the last day, which may be the same."""
        if days[0] == days[-1]:
            return self.gettext("Date: {day}").format(day=days[0])
        return self.gettext("Date: {first} to {last}").format(first=days[0], last=days[-1])

    def read_days(self, line: str) -> list[str] | None:
        """Return the arguments of `days`, if a line reads like its result."""
        for pattern in (self.gettext("Date: {first} to {last}"), self.gettext("Date: {day}")):
            literal = re.split(r"\{\w+\}", pattern)
            found = re.fullmatch("(.+?)".join(map(re.escape, literal)), line)
            if found:
                return list(found.groups())
        return None

    def counts(self, counts: Mapping[MessageKind, int]) -> str:
        """`Messages: 2 SMS, 1 voicemail`, in the order of kinds."""
        known = [self._count(kind, counts[kind]) for kind in _COUNTED if counts.get(kind)]
        return self._messages.format(counts=self.comma.join(known))

    def read_counts(self, line: str) -> dict[MessageKind, int] | None:
        """Return the arguments of `counts`, if a line reads like its result."""
        before, _, after = self._messages.partition("{counts}")
        if not (line.startswith(before) and line.endswith(after)):
            return None
        counts: dict[MessageKind, int] = {}
        for item in line[len(before) : len(line) - len(after)].split(self.comma.strip()):
            number = _A_NUMBER.search(item)
            n = int(number[0]) if number else 0
            counts.update({kind: n for kind in _COUNTED if n and self._count(kind, n) == item.strip()})
        return counts if counts and self.counts(counts) == line else None

    def _count(self, kind: MessageKind, n: int) -> str:
        match kind:
            case MessageKind.SMS:
                words = self.ngettext("{n} SMS", "{n} SMS", n)
            case MessageKind.VOICEMAIL:
                words = self.ngettext("{n} voicemail", "{n} voicemails", n)
            case MessageKind.FAX:
                words = self.ngettext("{n} fax", "{n} faxes", n)
            case _:
                words = self.ngettext("{n} other message", "{n} other messages", n)
        return words.format(n=n)

    # ---------------------------------------------------------------------------------- lines of an entry

    def when(self, sent_at: int | None, zone: str) -> str:
        """Return the time of an entry."""
        return self.unknown_time if sent_at is None else stamp(sent_at, zone, self.language)

    def failure(self, status: str | None, reason: Reason | None = None, name: str | None = None) -> str:
        """Return a failed delivery in words: why if it is known, to whom if several."""
        not_sent = (status or "").casefold() == "sendingfailed"
        if reason:
            pattern = (
                self.gettext("Not sent: {reason}") if not_sent else self.gettext("Not delivered: {reason}")
            )
            words = pattern.format(reason=self.why(reason))
        else:
            words = self.gettext("Not sent: sending failed") if not_sent else self.gettext("Not delivered")
        return f"{words} ({name})" if name else words

    def why(self, reason: Reason) -> str:
        """Why something was not delivered."""
        return self.gettext(_REASONS[reason])

    def media(self, kind: str) -> str:
        """Return the name of a kind of file."""
        return self._media[kind]

    def pages(self, count: float | None, resolution: str | None) -> str:
        """Return the pages of a fax: `2 pages, high resolution`."""
        sensible = int(count) if count and 0 < count < MOST_PAGES else 0
        known = [
            self.ngettext("{n} page", "{n} pages", sensible).format(n=sensible) if sensible else "",
            self._resolution(resolution) if resolution else "",
        ]
        return self.comma.join(part for part in known if part)

    def _resolution(self, resolution: str) -> str:
        match resolution.casefold():
            case "high":
                return self.gettext("high resolution")
            case "low":
                return self.gettext("low resolution")
            case _:
                return self.gettext("{resolution} resolution").format(resolution=resolution)

    def cover_page(self, text: str) -> str:
        """Return the text on a fax's cover page."""
        return self.gettext("Cover page: {text}").format(text=text)

    def transcript(self, text: str) -> str:
        """Return the transcript of a voicemail."""
        return self.gettext("Transcript: {text}").format(text=text)

    def truncation_note(self, left_out: int) -> str:
        """Return the last line of an entry that is too long for the CRM."""
        return self.ngettext(
            "(Shortened: {n} character is left out, since the CRM takes no longer text)",
            "(Shortened: {n} characters are left out, since the CRM takes no longer text)",
            left_out,
        ).format(n=left_out)

    # -------------------------------------------------------------------------------------- shared threads

    def owner(self, name: str, *, queue: bool) -> str:
        """Whose inbox it is."""
        return (self.gettext("Call queue: {name}") if queue else self.gettext("Owner: {name}")).format(
            name=name
        )

    def number(self, number: str) -> str:
        """Return the number of the inbox."""
        return self.gettext("Number: {number}").format(number=number)

    def participants_line(self, customer: str, agents: Sequence[str], most: int) -> str:
        """All participants, the customer first; a few by name."""
        first = self.gettext("{name} (customer)").format(name=customer)
        return self.gettext("Participants: {names}").format(names=self._names([first, *agents], most))

    def assignee_line(self, name: str) -> str:
        """Return the present assignee."""
        return self.gettext("Assigned to: {name}").format(name=name)

    def status(self, status: str, reason: str) -> str:
        """Return the status, in our words or else RingCentral's."""
        known = _STATUSES.get(status.casefold())
        words = self.gettext(known) if known else status
        return self.gettext("Status: {status}").format(status=f"{words} ({reason})" if reason else words)

    def status_reason(self, reason: str) -> str:
        """Return the reason of the status, in our words or a person's; empty for a code that we do not know."""
        known = _STATUS_REASONS.get(reason.casefold())
        if known:
            return self.gettext(known)
        return "" if _A_CODE.fullmatch(reason) else reason

    def start_line(self, when: str) -> str:
        """Its first moment."""
        return self.gettext("Started: {time}").format(time=when)

    def end_line(self, when: str, *, resolved: bool) -> str:
        """Its last moment, and whether that is the end."""
        words = self.gettext("Ended: {time}") if resolved else self.gettext("Last activity: {time}")
        return words.format(time=when)

    def duration_line(self, milliseconds: int, *, resolved: bool) -> str:
        """Return the duration so far."""
        words = self.gettext("Duration: {time}") if resolved else self.gettext("Duration so far: {time}")
        return words.format(time=self.duration(milliseconds))

    def duration(self, milliseconds: int) -> str:
        """`2 d 2 h`, `1 h 5 min`, `12 min` or `less than a minute`: at most two units."""
        days, hours, minutes = parts_of(milliseconds)
        parts = [
            (days, self.gettext("{n} d")),
            (hours, self.gettext("{n} h")),
            (minutes, self.gettext("{n} min")),
        ]
        first = next((index for index, (count, _) in enumerate(parts) if count), None)
        if first is None:
            return self.gettext("less than a minute")
        return " ".join(words.format(n=count) for count, words in parts[first : first + 2] if count)

    def content_counts(self, messages: int, notes: int) -> str:
        """How many messages and notes a thread holds."""
        said = self.ngettext("{n} message", "{n} messages", messages).format(n=messages)
        noted = self.ngettext("{n} note", "{n} notes", notes).format(n=notes)
        return self.comma.join([said, noted])

    def note(self, author: str) -> str:
        """Return a colleague's note."""
        return self.gettext("Note by {name}").format(name=author)

    def assignment(self, before: str, now: str, by: str) -> str:
        """Return an assignment: from whom, to whom, and by whom; each name may be empty."""
        match (bool(before), bool(now), bool(by)):
            case (True, True, True):
                words = self.gettext("Assigned from {before} to {now} by {by}")
            case (True, True, False):
                words = self.gettext("Assigned from {before} to {now}")
            case (False, True, True):
                words = self.gettext("Assigned to {now} by {by}")
            case (False, True, False):
                words = self.gettext("Assigned to {now}")
            case (True, False, True):
                words = self.gettext("Unassigned from {before} by {by}")
            case (True, False, False):
                words = self.gettext("Unassigned from {before}")
            case (False, False, True):
                words = self.gettext("Unassigned by {by}")
            case _:
                words = self.gettext("Unassigned")
        return words.format(before=before, now=now, by=by)

    def resolution_line(self, by: str) -> str:
        """Return the title of a thread's resolution."""
        return (self.gettext("Resolved by {name}") if by else self.gettext("Resolved")).format(name=by)

    def reopening_line(self, by: str) -> str:
        """Return the title of a thread's reopening."""
        return (self.gettext("Reopened by {name}") if by else self.gettext("Reopened")).format(name=by)


@lru_cache(maxsize=8)
def words_in(language: str) -> Words:
    """Return the wording in one of `LANGUAGES`."""
    return Words(language)


def words_of(text_settings: TextSettings) -> Words:
    """Return the wording that an activity is pinned to."""
    return words_in(text_settings.language)


def days_of(times: Collection[int], text_settings: TextSettings) -> list[str]:
    """Return the first and the last day of these times, in words; empty without any."""
    if not times:
        return []
    return [day(moment, text_settings.zone, text_settings.language) for moment in (min(times), max(times))]
