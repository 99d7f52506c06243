"""The journal's transactions, written once for both databases.

A script is a generator: it yields statements and is sent their results. It never touches a driver, so one text of
each transaction runs in SQLite's writer thread and on an asynchronous PostgreSQL connection alike, and a script
that is run again after a deadlock starts from nothing. What a script is given it does not change.
"""

from messagelog.storage.scripts.asking import Ask, Do, Fetch, Params, Script, Together
from messagelog.storage.scripts.claiming import accept, claim, note, save
from messagelog.storage.scripts.contacts import (
    claim_new_contact,
    drop_contacts,
    drop_new_contact,
    find_contacts,
    forget_contacts,
    keep_contacts,
    settle_new_contact,
)
from messagelog.storage.scripts.inbox import (
    attempts_of,
    decide,
    inbox,
    inbox_causes,
    inbox_logs,
    rows_not_logged,
    texts_of,
)
from messagelog.storage.scripts.reading import (
    due_logs,
    entries_of,
    linked_activities,
    list_logs,
    look_up,
    next_due,
    report_rows,
    show_logs,
)
from messagelog.storage.scripts.retention import (
    drop_log,
    drop_old_attempts,
    erase_texts,
    logs_to_drop,
    logs_to_erase,
)
from messagelog.storage.scripts.settings import (
    admin_settings,
    change_admin_settings,
    change_user_settings,
    read_settings,
)
from messagelog.storage.scripts.users import (
    claim_refresh,
    find_user,
    refresh_user,
    release_refresh,
    save_credentials,
    save_user,
    sign_in,
    sign_out,
    use_state,
)

__all__ = [
    "Ask",
    "Do",
    "Fetch",
    "Params",
    "Script",
    "Together",
    "accept",
    "admin_settings",
    "attempts_of",
    "change_admin_settings",
    "change_user_settings",
    "claim",
    "claim_new_contact",
    "claim_refresh",
    "decide",
    "drop_contacts",
    "drop_log",
    "drop_new_contact",
    "drop_old_attempts",
    "due_logs",
    "entries_of",
    "erase_texts",
    "find_contacts",
    "find_user",
    "forget_contacts",
    "inbox",
    "inbox_causes",
    "inbox_logs",
    "keep_contacts",
    "linked_activities",
    "list_logs",
    "logs_to_drop",
    "logs_to_erase",
    "look_up",
    "next_due",
    "note",
    "read_settings",
    "refresh_user",
    "release_refresh",
    "report_rows",
    "rows_not_logged",
    "save",
    "save_credentials",
    "save_user",
    "settle_new_contact",
    "show_logs",
    "sign_in",
    "sign_out",
    "texts_of",
    "use_state",
]
