"""Our connector for the stub CRM: an ordinary one, for an append-only CRM.

It makes the same calls as the peer's in `peer_server.js`: one POST for an activity, one PATCH for an addition. After a
lost answer it reads the activity.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from messagelog.connectors import Connector, Contact, Session, UserInfo

if TYPE_CHECKING:
    from messagelog.connectors import MessageLog


class BenchConnector(Connector):
    """The stub CRM at `BENCH_CRM_URL`."""

    name = "bench"
    display_name = "Bench CRM"
    append_only = True

    def __init__(self) -> None:
        self.base_url = os.environ["BENCH_CRM_URL"]

    async def get_user_info(self, session: Session) -> UserInfo:
        """Return the owner of the API key."""
        me = await session.http.get("/me")
        return UserInfo(id=me["id"], name=me["name"], tenant=me["tenant"], timezone=me["timezone"])

    async def find_contact(self, session: Session, phone_number: str) -> list[Contact]:  # noqa: ARG002 - it is never called
        """Return no contact: the requests of the benchmark name their contact."""
        return []

    async def create_message_log(self, session: Session, log: MessageLog) -> str | int | None:
        """Return an activity with the composed text."""
        content = log.content
        activity = await session.http.post(
            "/activities",
            json={
                "type": "SMS",
                "contactId": log.contact.id,
                "subject": content and content.subject,
                "body": content and content.body,
            },
        )
        made: str = activity["id"]
        return made

    async def update_message_log(self, session: Session, log: MessageLog) -> None:
        """Return the new entries, behind what is there."""
        if log.existing is None:
            raise ValueError("an update has an existing activity")
        await session.http.patch(f"/activities/{log.existing.third_party_log_id}", json={"append": log.text})

    async def read_message_log(self, session: Session, third_party_log_id: str) -> str:
        """Return the activity's text."""
        body: str = (await session.http.get(f"/activities/{third_party_log_id}"))["body"]
        return body
