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
from messagelog.storage.scripts.pacing import active_paces, change_pace, list_paces
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
    "active_paces",
    "admin_settings",
    "change_admin_settings",
    "change_pace",
    "change_user_settings",
    "claim",
    "claim_new_contact",
    "claim_refresh",
    "drop_contacts",
    "drop_new_contact",
    "due_logs",
    "entries_of",
    "find_contacts",
    "find_user",
    "forget_contacts",
    "keep_contacts",
    "linked_activities",
    "list_logs",
    "list_paces",
    "look_up",
    "next_due",
    "note",
    "read_settings",
    "refresh_user",
    "release_refresh",
    "report_rows",
    "save",
    "save_credentials",
    "save_user",
    "settle_new_contact",
    "show_logs",
    "sign_in",
    "sign_out",
    "use_state",
]
