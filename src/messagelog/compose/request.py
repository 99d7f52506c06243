"""What a whole request of the client becomes, as if nothing had been logged before."""

from messagelog.compose.log import compose_log
from messagelog.compose.model import Content, People, Pins
from messagelog.compose.thread import compose_thread
from messagelog.messages import Conversation, LogRequest

_NO_KEY = b"what is only shown is not looked for again"


def people_of(pins: Pins, contact_name: str | None, conversation: Conversation) -> People:
    """The two sides as far as a request tells: nobody is signed in here, and no CRM is asked whose a number is.

    So in a group the contact is the one correspondent who has its name, if there is one.
    """
    parties = conversation.correspondents
    alike = [party for party in parties if len(parties) == 1 or party.name == contact_name]
    if pins.is_earlier:
        number = alike[0].phone_number if alike else None
        return People(contact_name or number or "", number, conversation.agent_name)
    number = alike[0].phone_number if len(alike) == 1 else None
    return People(contact_name or number or "", number)


def compose_request(pins: Pins, request: LogRequest) -> Content:
    """Subject and body of the activity for all that a request holds."""
    info = request.info
    people = people_of(pins, request.contact_name, info.conversation)
    if request.is_shared:
        return compose_thread(pins, people, request.thread, _NO_KEY)
    return compose_log(pins, people, info.loggable, info.conversation, _NO_KEY)
