"""The contract of plugins: their arguments, their answers, and their refusals."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from messagelog.errors import MessagelogError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from messagelog.messages import LogRequest


class Refused(MessagelogError):
    """A plugin does not want the request to be logged.

    The sentence is shown to the user as it is, so it must quote nothing that a user or a customer has written.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class BadPluginSetting(MessagelogError, ValueError):
    """A plugin cannot work with its settings; the text is a sentence for the operator, and quotes no secret."""


@dataclass(frozen=True, slots=True)
class RequestContext:
    """The user of a request. `platform` is the connector's name, `crm` the CRM's name for people."""

    tenant: str
    platform: str
    crm: str
    user_id: str


@dataclass(frozen=True, slots=True)
class ContactForm:
    """A user's input for a new contact: the name, and the answers to the manifest's own fields."""

    name: str
    additional_submission: dict[str, Any] | None = None

    def __repr__(self) -> str:
        # Neither may be in a log line or a traceback.
        return "ContactForm(…)"


class Plugin(ABC):
    """Sees each request before it is planned, and may change or refuse it.

    One instance serves all requests of a process, many at a time. `seconds` is how long it may take for one request.
    If a `required` plugin fails, nothing is logged; if another one fails, the request is logged without it, and the
    user is warned.
    """

    name: ClassVar[str]
    required: ClassVar[bool] = False
    seconds: ClassVar[float] = 2.0

    def __init__(self, settings: Mapping[str, str]) -> None:
        """Take `settings`: the environment's variables `MESSAGELOG_PLUGIN_<NAME>_<KEY>`, by key in lower case.

        Raises `BadPluginSetting` when it cannot work with them, also for unknown ones.
        """
        if settings:
            raise BadPluginSetting(f"it has no setting {min(settings)}.")

    @abstractmethod
    async def on_request(self, context: RequestContext, request: LogRequest) -> LogRequest:
        """Return the request to be logged: the same one, or a copy with changes. Raises `Refused`.

        It is called again when the client sends the messages again, so its answer should depend on the request alone.
        Texts, names, the form's fields and attachments may change, and entities of a shared thread may be removed
        (not all of them). Ids, times, kinds, numbers and directions may not.
        """

    async def on_contact(self, context: RequestContext, form: ContactForm) -> ContactForm:  # noqa: ARG002 - as it is
        """Return the form of a new contact to be sent to the CRM: the same one, or another. Raises `Refused`."""
        return form
