"""What the client's manifest says of the demo CRM: its custom fields and pages."""

from __future__ import annotations

from typing import Any, Final

MANIFEST: Final[dict[str, Any]] = {
    "urlIdentifier": "*/demo-crm*",
    "contactTypes": [{"display": "Contact", "value": "contact"}, {"display": "Lead", "value": "lead"}],
    "contactPageUrl": "https://{hostname}/{contactType}/{contactId}",
    "logPageUrl": "https://{hostname}/activity/{logId}?contact={contactId}",
    "canOpenLogPage": True,
    "settings": [
        {
            "id": "demoOptions",
            "type": "section",
            "name": "Demo CRM options",
            "items": [
                {"id": "defaultTopic", "type": "inputField", "name": "Default topic", "defaultValue": ""}
            ],
        }
    ],
    "page": {
        "useContactSearch": True,
        "messageLog": {
            "additionalFields": [
                {"const": "matter", "title": "Matter", "type": "selection", "contactDependent": True},
                {
                    "const": "billable",
                    "title": "Billable",
                    "type": "checkbox",
                    "contactDependent": True,
                    "defaultValue": False,
                },
                {"const": "topic", "title": "Topic", "type": "inputField", "contactDependent": False},
            ]
        },
    },
}
