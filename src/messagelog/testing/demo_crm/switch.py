"""The chaos switch: the faults of a tenant's CRM, and its features."""

from typing import Annotated, Any

import msgspec

from messagelog.testing.demo_crm.wire import JSON_LIMIT, RefusedError

Rate = Annotated[float, msgspec.Meta(ge=0, le=1)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=600_000)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
ErrorStatus = Annotated[int, msgspec.Meta(ge=300, le=599)]
Requests = Annotated[int, msgspec.Meta(ge=1, le=100_000)]
Characters = Annotated[int, msgspec.Meta(ge=0, le=JSON_LIMIT)]


class Switch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One tenant's switch; with the defaults the CRM has no faults.

    The first group is about every call, the second about the answers to writes whose work is done, the third about
    the features of the CRM.
    """

    delay_ms: Milliseconds = 0
    """The pause before the work."""
    drop_request_rate: Rate = 0.0
    """The probability that the work is not done and the connection closes without an answer."""
    failure_rate: Rate = 0.0
    """The probability that the work is not done and `status` is the answer."""
    status: ErrorStatus = 503
    """The answer of `failure_rate`."""
    retry_after_s: Seconds | None = None
    """The Retry-After header of the answers of `failure_rate` and `apply_then_status`."""

    rate_limit: Requests | None = None
    """The most calls that may come in within `rate_window_s`; 429 for more."""
    rate_window_s: Seconds = 1.0
    """The window of `rate_limit`."""

    lose_response_rate: Rate = 0.0
    """The probability that the work is done and the connection closes without an answer."""
    apply_then_status: ErrorStatus | None = None
    """The work is done, and this error (or redirect) is the answer."""
    hold: bool = False
    """The work is done, and the answer waits until this is off, for two minutes at most."""

    search_lag_ms: Milliseconds = 0
    """Searches by phone, name or external id do not see rows younger than this."""
    body_limit: Characters | None = None
    """The greatest length of subject and body together."""
    append_only: bool = False
    """Append-only: subject and body cannot be changed, but entries can be added."""
    external_ids: bool = True
    """Activities may have an external id, which is unique; else it is ignored."""


def apply_changes(switch: Switch, changes: dict[str, Any]) -> Switch:
    """Return the switch after `changes`: null resets a key to its default, `reset: true` resets all keys first.

    Raises RefusedError (422) with the key that is unknown, or whose value has the wrong type or range.
    """
    changes = dict(changes)
    reset = changes.pop("reset", False)
    if not isinstance(reset, bool):
        raise RefusedError(422, "Expected `bool` - at `$.reset`")
    if unknown := changes.keys() - set(Switch.__struct_fields__):
        raise RefusedError(422, f"unknown key {min(unknown)!r}")
    merged = ({} if reset else msgspec.structs.asdict(switch)) | changes
    try:
        return msgspec.convert({key: value for key, value in merged.items() if value is not None}, Switch)
    except msgspec.ValidationError as error:
        raise RefusedError(422, str(error)) from error
