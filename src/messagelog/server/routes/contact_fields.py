"""The values of the manifest's fields that the client's log form needs in each row of contacts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from messagelog.server.routes.manifest import additional_fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from messagelog.connectors import Connector


def contact_field_values(
    connector: Connector, known: Mapping[str, Any], *, types: Iterable[str] = ()
) -> dict[str, Any]:
    """Return a row's values for the manifest's fields, with those that the client's form cannot do without.

    The form shows a selection or a checkbox only if the row has a value for it, takes a selection's options only from
    there (so they are copied from the manifest), and fails on an empty selection of this contact. `types` are given for
    the row of a new contact: in it a selection that depends on the type has its options under each type.
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
