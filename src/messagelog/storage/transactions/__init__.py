"""The journal's transactions, written once for both databases.

A transaction is a generator: it yields commands and is sent their results. It never touches a driver, so the same
code runs in SQLite's writer thread and on an asynchronous PostgreSQL connection, and a transaction that is run again
after a deadlock starts from the beginning. It does not change its arguments.
"""

from messagelog.storage.transactions.audit import (
    count_audit,
    read_audit,
    read_rows_audited,
    record_audit,
    run_audited,
)
from messagelog.storage.transactions.claims import accept_request, claim_log, record_intent, save_outcome
from messagelog.storage.transactions.clock import LONGEST_DELAY_MS, find_misdated_logs, redate_logs
from messagelog.storage.transactions.commands import Batch, Command, Execute, Params, Query, Transaction
from messagelog.storage.transactions.contacts import (
    claim_new_contact,
    drop_contacts,
    drop_new_contact,
    find_contacts,
    forget_contacts,
    keep_contacts,
    save_new_contact,
)
from messagelog.storage.transactions.encryption import (
    SealedValue,
    count_sealed,
    find_keys,
    find_sealed,
    keep_keys,
    reseal,
)
from messagelog.storage.transactions.erasure import (
    erase_account,
    erase_in_log,
    erase_log,
    erase_tenant,
    walk_logs,
    walk_rows,
)
from messagelog.storage.transactions.inbox import (
    apply_decision,
    count_causes,
    count_inbox,
    find_inbox_logs,
    find_unlogged_rows,
    list_attempts,
    list_inbox,
    read_texts_audited,
)
from messagelog.storage.transactions.journal import NoJournalId, part_from_original, read_journal_id
from messagelog.storage.transactions.limits import find_active_limiters, update_limiter
from messagelog.storage.transactions.operators import (
    add_operator,
    begin_session,
    change_password,
    change_roles,
    end_operator_sessions,
    end_session,
    find_operator,
    find_session,
    list_operators,
    rehash_password,
    remove_operator,
    touch_session,
)
from messagelog.storage.transactions.probe import probe
from messagelog.storage.transactions.queries import (
    count_logs,
    count_open,
    find_due_logs,
    find_entries,
    find_holders,
    find_linked_activities,
    find_links,
    find_log_keys,
    find_logs_of_contact,
    find_message,
    find_next_due,
    list_logs,
    look_up_everywhere,
    look_up_plain,
    report_rows,
    show_logs,
)
from messagelog.storage.transactions.retention import (
    drop_log,
    drop_old_attempts,
    erase_texts,
    find_logs_to_drop,
    find_logs_to_erase,
)
from messagelog.storage.transactions.settings import (
    change_admin_settings,
    change_user_settings,
    find_admin_settings,
    read_settings,
)
from messagelog.storage.transactions.tenants import (
    find_hostnames,
    find_tenant,
    join_tenant,
    keep_tenant,
    list_tenants,
    move_tenant,
)
from messagelog.storage.transactions.users import (
    claim_refresh,
    end_sessions,
    find_user,
    list_users,
    refresh_user,
    release_refresh,
    save_credentials,
    save_user,
    sign_in,
    sign_out,
    use_state,
)
