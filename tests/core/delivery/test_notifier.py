"""Subscriptions to the outcomes of rows."""

from __future__ import annotations

from messagelog.core.delivery.notifier import OutcomeNotifier
from messagelog.storage.records.journal import LogKey, RowState, RowStatus

KEY = LogKey("acme", "memory", "conv/1")
LOGGED = RowStatus("2", RowState.LOGGED, None, 0)


def test_rows_that_are_made_while_a_request_waits_are_delivered_too() -> None:
    notifier = OutcomeNotifier()
    with notifier.subscribe(KEY, {"1": 0}) as subscription:
        notifier.extend_subscription(subscription, KEY, ["2"])
        assert notifier.pending_ids(KEY) == {"1", "2"}
        notifier.publish(KEY, [LOGGED])
        assert subscription.pending_ids == ["1"]
        assert subscription.reports == {"2": LOGGED}


def test_nothing_is_kept_of_a_request_that_has_gone_before_its_rows_were_made() -> None:
    notifier = OutcomeNotifier()
    with notifier.subscribe(KEY, {"1": 0}) as subscription:
        pass
    notifier.extend_subscription(subscription, KEY, ["2"])
    notifier.publish(KEY, [LOGGED])
    assert subscription.reports == {}
    assert notifier.pending_ids(KEY) == set()
