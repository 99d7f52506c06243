"""What the client's log form needs in each row of contacts, by the fields that the manifest asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from messagelog.server.routes.manifest import additional_fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from messagelog.connectors import Connector


def contact_field_values(
    connector: Connector, known: Mapping[str, Any], *, types: Iterable[str] = ()
) -> dict[str, Any]:
    """A row's values for the manifest's fields, with what the client's form cannot do without.

    It shows a selection and a checkbox only where the row has a value for it, takes a selection's options from there
    alone (never from the manifest, so they are copied), and stumbles over a selection of this contact that is empty.
    `types` are given for the row of a new contact: there a selection that depends on the type has its options below
    each type.
    """
    info = dict(known)
    for field in additional_fields(connector):
        const, options = field["const"], field.get("options") or []
        match field.get("type"):
            case "selection" if field.get("contactTypeDependent") and types:
                for type_ in types:
                    info[type_] = {**info.get(type_, {}), const: options}
            case "selection" if field.get("contactDependent"):
                if not info.get(const):
                    info.pop(const, None)
                    if options:
                        info[const] = options
            case "selection":
                info.setdefault(const, options)
            case "checkbox" if not field.get("contactDependent"):
                info.setdefault(const, field.get("defaultValue", False))
            case _:
                continue
    return info
