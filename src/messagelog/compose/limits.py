"""How much fits into a new activity whose body is limited. Nothing is dropped: the rest goes into another activity.

The limit is pinned (`TextSettings.limit`), so that a shortened entry keeps its text and its hash.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from messagelog.compose.detect import syntax_of
from messagelog.compose.log import compose_log, entries
from messagelog.compose.model import Entry, Participants, TextSettings
from messagelog.messages import Conversation, Message, message_order


def fit_log(
    text_settings: TextSettings,
    participants: Participants,
    messages: Sequence[Message],
    conversation: Conversation,
    key: bytes,
    *,
    continued: bool = False,
) -> int:
    """Return how many of the messages, oldest first, fit into a new activity; at least one, if there are any."""
    ordered = sorted(messages, key=message_order)
    written = entries(text_settings, participants, ordered, conversation, key)

    def overflows(count: int) -> bool:
        some = (ordered[:count], conversation, key, written[:count])
        return not text_settings.fits(
            compose_log(text_settings, participants, *some, continued=continued).body
        )

    most = bisect_right(range(1, len(ordered) + 1), 0, key=lambda count: int(overflows(count)))
    return max(most, min(1, len(ordered)))


def fit_blocks(text_settings: TextSettings, blocks: Sequence[Entry]) -> int:
    """Return how many blocks of a shared thread fit into a new activity; at least the first, the heading."""
    if text_settings.limit is None:
        return len(blocks)
    separator = text_settings.measure.of(syntax_of(text_settings).separator)
    ends = list(accumulate(text_settings.measure.of(block.text) + separator for block in blocks))
    return max(bisect_right(ends, text_settings.limit + separator), min(1, len(blocks)))
