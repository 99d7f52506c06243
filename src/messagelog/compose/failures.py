"""Why a message was not delivered, in words that its sender understands. A code itself is never shown."""

import re
from collections.abc import Iterable
from typing import Final

from messagelog.compose.clean import clean_line
from messagelog.compose.model import Participants
from messagelog.compose.senders import is_contact
from messagelog.compose.wording import OPTED_OUT, Reason, Words
from messagelog.messages import Message, Party

_CODE = re.compile(r"SMS-(?P<source>RC|UP|CAR)-(?P<number>[1-5][0-9]{2})", re.IGNORECASE)
_FAILED: Final = frozenset({"deliveryfailed", "sendingfailed", "failed", "undelivered"})

_TEXT_REASONS: Final[dict[str, Reason]] = {
    "400": "carrier cannot",
    "403": "limit",
    "410": "not a mobile",
    "411": "not a mobile",
    "412": "unreachable",
    "413": OPTED_OUT,
    "414": "sender not set up",
    "420": "not a mobile",
    "430": "spam",
    "431": "carrier refused",
    "432": "too long",
    "433": "malformed",
    "434": "files too large",
    "435": "shortened link",
    "450": "limit",
    "451": "limit",
    "452": "limit",
    "460": "short code",
    "461": "sender not verified",
    "503": "sender not set up",
    "504": "sender not set up",
}
"""Reasons by the number of a code such as `SMS-CAR-411`, for every reporter."""

_TEXT_REASONS_BY_SOURCE: Final[dict[tuple[str, str], Reason]] = {
    ("CAR", "104"): "no report",
    ("CAR", "199"): "no report",
    ("CAR", "410"): "expired",
    ("UP", "431"): "sender is spam",
}

_FAX_REASONS: Final[dict[str, Reason]] = {
    "accountsuspended": "account suspended",
    "alllinesinuse": "line busy",
    "calldeclined": "call declined",
    "callerhungup": "hung up",
    "callfailed": "call failed",
    "converterror": "not rendered",
    "dbgeneralerror": "RingCentral",
    "destinationcountrydisabled": "country off",
    "faxsendingprohibited": "faxes forbidden",
    "internalerror": "RingCentral",
    "internationalcallingdisabled": "abroad off",
    "internationaldisabled": "abroad off",
    "invalidnumber": "wrong number",
    "linebusy": "line busy",
    "noanswer": "no answer",
    "nocalltime": "no call time",
    "nofaxmachine": "no fax machine",
    "nofaxsendpermission": "no permission",
    "nointernationalpermission": "no permission abroad",
    "notaccepted": "call declined",
    "notenoughcredits": "no credit",
    "prohibiteddestination": "number forbidden",
    "prohibitednumber": "number forbidden",
    "renderingfailed": "not rendered",
    "returntodbqueue": "queued again",
    "sentpartially": "partially",
    "skypebillingfailed": "billing",
    "thephoneisblacklisted": "number blocked",
    "toomanycallsperline": "too many calls",
    "toomanypages": "too many pages",
    "undefined": "no reason",
    "unknowncountrycode": "wrong number",
    "usernotfound": "no user",
    "wrongnumber": "wrong number",
}


def reason_of(code: str | None) -> Reason | None:
    """Return why it failed, by RingCentral's code for a text or a fax; None without a code, or for an unknown one."""
    if not code:
        return None
    sms = _CODE.fullmatch(code.strip())
    if sms is None:
        return _FAX_REASONS.get(code.strip().casefold())
    source, number = sms["source"].upper(), sms["number"]
    reason = _TEXT_REASONS_BY_SOURCE.get((source, number)) or _TEXT_REASONS.get(number)
    if reason is None and number.startswith("5"):
        return "RingCentral" if source == "RC" else "carrier"
    return reason


def failure_lines(message: Message, participants: Participants, words: Words) -> list[str]:
    """Return lines for failed deliveries: why if it is known; to whom, if there are others. An opt-out comes first."""
    to = [someone for someone in message.to if someone is not None]
    if len(to) <= 1:
        codes = [message.delivery_error_code, *_codes(to)]
        statuses = [message.message_status, *[someone.message_status for someone in to]]
        line = failure_line(statuses, codes, words)
        return [line] if line else []
    failed = [someone for someone in to if has_failed(someone.message_status, _codes([someone]))]
    if not failed:
        line = failure_line([message.message_status], [message.delivery_error_code], words)
        return [line] if line else []
    shared = reason_of(message.delivery_error_code)
    told = []
    for someone in failed:
        reasons = list(filter(None, map(reason_of, _codes([someone]))))
        reason = _foremost(reasons) or (shared if len(failed) == 1 else None)
        status = someone.message_status or message.message_status
        contact = clean_line(participants.contact_name) if is_contact(someone, participants) else ""
        line = words.failure(status, reason, contact or clean_line(someone.name or someone.phone_number))
        told.append((reason != OPTED_OUT, line))
    lines = [line for _, line in sorted(told, key=lambda each: each[0])]
    if shared and len(failed) > 1:
        lines.insert(0 if shared == OPTED_OUT else len(lines), words.failure(message.message_status, shared))
    return lines


def failure_line(statuses: Iterable[str | None], codes: Iterable[str | None], words: Words) -> str | None:
    """Return a line if one of these statuses is a failure, with the most important reason of these codes."""
    statuses, codes = list(statuses), list(codes)
    status = next((each for each in statuses if has_failed(each, [])), None)
    if status is None and (any(statuses) or not has_failed(None, codes)):
        return None
    return words.failure(status, _foremost(list(filter(None, map(reason_of, codes)))))


def has_failed(status: str | None, codes: Iterable[str | None]) -> bool:
    """Return whether the status is a failure; without a status, whether there is an error code."""
    if status:
        return status.casefold() in _FAILED
    return any(reason_of(code) not in {None, "no report"} for code in codes)


def _foremost(reasons: list[Reason]) -> Reason | None:
    return OPTED_OUT if OPTED_OUT in reasons else next(iter(reasons), None)


def _codes(parties: Iterable[Party]) -> list[str | None]:
    return [code for someone in parties for code in (someone.error_code, someone.fax_error_code)]
