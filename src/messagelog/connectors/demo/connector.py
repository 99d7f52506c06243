"""Speaks to the demo CRM over HTTP, as any connector speaks to its CRM."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

from messagelog.connectors import Connector, Contact, NewContact, Rejected, Session, UserInfo
from messagelog.connectors.demo.manifest import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from messagelog.connectors import MessageLog


class DemoConnector(Connector):
    """The demo CRM at `base_url` (such as `http://127.0.0.1:8787/demo-crm/api`)."""

    name = "demo"
    display_name = "Demo CRM"
    settle_seconds = 2.0
    not_found_means_gone = True
    manifest: ClassVar[Mapping[str, Any]] = MANIFEST

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url

    async def get_user_info(self, session: Session) -> UserInfo:
        """Return the owner of the API key; the CRM's tenant is ours."""
        me = await session.http.get("/me")
        return UserInfo(
            id=me["id"],
            name=me["name"],
            tenant=me["tenant"],
            timezone=me["timezone"],
            timezone_offset=me["timezone_offset"],
        )

    async def find_contact(self, session: Session, phone_number: str) -> list[Contact]:
        """Return contacts by phone number."""
        return [
            _contact(found) for found in await session.http.get("/contacts", params={"phone": phone_number})
        ]

    async def find_contact_with_name(self, session: Session, name: str) -> list[Contact]:
        """Return contacts by a part of their name."""
        return [_contact(found) for found in await session.http.get("/contacts", params={"name": name})]

    async def create_contact(self, session: Session, contact: NewContact) -> Contact:
        """Create a contact or lead."""
        fields = {"name": contact.name, "phone": contact.phone_number, "type": contact.type or "contact"}
        return _contact(await session.http.post("/contacts", json=fields))

    async def create_message_log(self, session: Session, log: MessageLog) -> str | int | None:
        """Create an activity with the composed text, the custom fields and our key as its external id."""
        content = log.content
        activity = await session.http.post(
            "/activities",
            json={
                "contact_id": log.contact.id,
                "subject": content and content.subject,
                "body": content and content.body,
                "format": self.log_format,
                "fields": log.additional_submission,
                "external_id": log.idempotency_key,
            },
        )
        made: str = activity["id"]
        return made

    async def update_message_log(self, session: Session, log: MessageLog) -> None:
        """Put the new entries in their place; at the end, if the CRM does not allow changes."""
        if log.existing is None:
            raise ValueError("an update has an existing activity")
        path = f"/activities/{log.existing.third_party_log_id}"
        activity = await session.http.get(path)
        body = log.amend(activity["body"])
        if body == activity["body"]:
            return
        change = {"body": body, "fields": log.additional_submission}
        try:
            await session.http.patch(path, json=change)
        except Rejected as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            await session.http.post(f"{path}/entries", json={"text": log.text})

    async def find_message_log(self, session: Session, log: MessageLog) -> str | int | None:
        """Find it by our key; in a CRM without external ids, or with a slow search, by the contact's activities."""
        try:
            found = await session.http.get("/activities", params={"external_id": log.idempotency_key})
        except Rejected:
            found = []
        if not found:
            activities = await session.http.get("/activities", params={"contact_id": log.contact.id})
            found = [
                each for each in activities if log.recognises(each["id"], each["body"], each["external_id"])
            ]
        return found[0]["id"] if found else None

    async def read_message_log(self, session: Session, third_party_log_id: str) -> str:
        """Return the activity's present body."""
        activity = await session.http.get(f"/activities/{third_party_log_id}")
        body: str = activity["body"]
        return body


def _contact(found: dict[str, Any]) -> Contact:
    return Contact(
        id=found["id"],
        name=found["name"],
        type=found["type"],
        phone_number=found["phone"],
        additional_info=found["fields"],
        created_at=found["created_at"],
    )
