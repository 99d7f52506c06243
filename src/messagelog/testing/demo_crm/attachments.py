"""Files that belong to activities, kept in the same SQLite file."""

from dataclasses import dataclass

from messagelog.testing.demo_crm.activities import row_of_activity
from messagelog.testing.demo_crm.records import View, count, number_in
from messagelog.testing.demo_crm.wire import JsonObject, RefusedError


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file's bytes, name and content type."""

    file_name: str
    content_type: str
    content: bytes


def attach(view: View, activity_id: str, attachment: Attachment) -> JsonObject:
    """Store a file with an activity and return it as the API shows it. RefusedError: 404."""
    activity = row_of_activity(view, activity_id)
    number = count(view.connection, view.tenant, "attachments")
    size = len(attachment.content)
    view.connection.execute(
        "INSERT INTO file (tenant, n, activity_n, file_name, content_type, size, content)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            view.tenant,
            number,
            activity["n"],
            attachment.file_name,
            attachment.content_type,
            size,
            attachment.content,
        ),
    )
    return {
        "id": f"f-{number}",
        "file_name": attachment.file_name,
        "content_type": attachment.content_type,
        "size": size,
    }


def get_attachment(view: View, attachment_id: str) -> Attachment:
    """Return a file with its bytes; RefusedError (404) when the tenant has no such file."""
    row = view.connection.execute(
        "SELECT file_name, content_type, content FROM file WHERE tenant = ? AND n = ?",
        (view.tenant, number_in(attachment_id, "f")),
    ).fetchone()
    if row is None:
        raise RefusedError(404, "no such attachment")
    return Attachment(row["file_name"], row["content_type"], row["content"])
