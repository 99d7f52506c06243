"""The text of a whole request, as if nothing had been logged earlier."""

from messagelog.compose.log import compose_log
from messagelog.compose.model import Content, Participants, TextSettings
from messagelog.compose.thread import compose_thread
from messagelog.messages import Conversation, LogRequest

_NO_KEY = b"what is only shown is not looked for again"


def participants_of(
    text_settings: TextSettings, contact_name: str | None, conversation: Conversation
) -> Participants:
    """Return the two sides from the request alone, without a signed-in user and without the CRM's contact.

    So in a group the contact is the one correspondent with the contact's name, if there is one.
    """
    parties = conversation.correspondents
    alike = [party for party in parties if len(parties) == 1 or party.name == contact_name]
    if text_settings.is_earlier:
        number = alike[0].phone_number if alike else None
        return Participants(contact_name or number or "", number, conversation.agent_name)
    number = alike[0].phone_number if len(alike) == 1 else None
    return Participants(contact_name or number or "", number)


def compose_request(text_settings: TextSettings, request: LogRequest) -> Content:
    """Return subject and body of the activity for everything in a request."""
    info = request.info
    participants = participants_of(text_settings, request.contact_name, info.conversation)
    if request.is_shared:
        return compose_thread(text_settings, participants, request.thread, _NO_KEY)
    return compose_log(text_settings, participants, info.loggable, info.conversation, _NO_KEY)
