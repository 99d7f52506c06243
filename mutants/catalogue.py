"""The mutants: each with the text that it removes, its place, and the tests that must fail."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """A removed safeguard: in a file (below `src/messagelog`) a text that is there once is replaced.

    `edits` are triples of file, old and new text: a safeguard with a twin is removed together with it.
    """

    name: str
    edits: tuple[tuple[str, str, str], ...]
    tests: tuple[str, ...]


CATALOGUE = (
    Mutant(
        "the claim",
        (
            (
                "storage/transactions/claims.py",
                "free = log.state is LogState.OPEN and (log.due_at is None or log.due_at <= now or early)",
                "free = log.state is LogState.OPEN",
            ),
        ),
        ("tests/core/delivery/test_races.py",),
    ),
    Mutant(
        "the calling write",
        (("storage/transactions/claims.py", "        call=step.call,\n", "        call=None,\n"),),
        ("tests/core/delivery/test_reconcile.py", "-k", "crash_between"),
    ),
    Mutant(
        "the settle wait",
        (
            (
                "core/delivery/outcomes.py",
                "wait_ms = capabilities.settle_ms if at_work or searched else 0",
                "wait_ms = 0",
            ),
        ),
        ("tests/core/delivery/test_reconcile.py", "-k", "lags"),
    ),
    Mutant(
        "the fencing check",
        (
            (
                "storage/transactions/claims.py",
                "if fence != log.fence or owner != log.owner:",
                "if False:",
            ),
        ),
        ("tests/storage", "-k", "lost or fence or claim"),
    ),
    Mutant(
        "the tenant from the key",
        (
            (
                "core/intake/submission.py",
                "            key=self.plan.key,\n",
                '            key=self.plan.key._replace(tenant="all"),\n',
            ),
        ),
        ("tests/core/users/test_tenancy.py",),
    ),
    Mutant(
        "the host of a tenant",
        (("core/users/tenants.py", "        return host_of(base_url)\n", '        return ""\n'),),
        ("tests/tenancy/test_hosts.py", "-k", "alike or squats or waits"),
    ),
    Mutant(
        "the check of a tenant's host when a sign-in is written",
        (
            (
                "storage/transactions/tenants.py",
                "    if not rows or rows[0][0] != tenant:\n        raise TenantMoved\n",
                "    if not rows:\n        return\n",
            ),
        ),
        ("tests/core/users/test_tenants.py", "-k", "old_host or overtakes"),
    ),
    Mutant(
        "the name of a tenant's own",
        (("storage/transactions/tenants.py", "        tenant = spare\n", "        pass\n"),),
        ("tests/core/users/test_tenants.py", "-k", "looks_like or share_a_tenant"),
    ),
    Mutant(
        "the read-back",
        (
            (
                "core/delivery/reconcile.py",
                "        if not there.rows:\n",
                "        if True:\n",
            ),
        ),
        ("tests/crash/test_campaign.py", "-k", "sqlite-update-AppendOnlyReadBack"),
    ),
    Mutant(
        "the snapshot version",
        (
            (
                "core/intake/submission.py",
                "[item for item in self.plan.items if item.version > known.version]",
                "list(self.plan.items)",
            ),
            (
                "storage/transactions/claims.py",
                "return log.shared and row.version > log.version",
                "return log.shared",
            ),
        ),
        ("tests/core/intake/test_requests.py", "-k", "shared or snapshot"),
    ),
    Mutant(
        "the sorted claim order",
        (
            (
                "storage/transactions/claims.py",
                "return sorted(rows.values(), key=lambda row: row.id)",
                "return list(rows.values())",
            ),
        ),
        ("tests/storage", "-k", "order or deadlock"),
    ),
    Mutant(
        "one who makes a contact",
        (
            (
                "storage/transactions/contacts.py",
                "    if is_held(until, now, lease_ms + _LONGEST_HOLD_MS):\n        made =",
                "    if until > now and contact is not None:\n        made =",
            ),
        ),
        ("tests/core/contacts/test_service.py",),
    ),
    Mutant(
        "the search for a contact whose answer was lost",
        (
            (
                "storage/transactions/contacts.py",
                "NewContactClaim(mine=True, ask_first=True)",
                "NewContactClaim(mine=True)",
            ),
        ),
        ("tests/core/contacts/test_service.py",),
    ),
    Mutant(
        "the memory of a contact that was made since",
        (
            (
                "storage/sql/journal.sql",
                """WHERE "contacts"."foundAt" <= :asked_at""",
                """WHERE "contacts"."foundAt" <= :asked_at OR TRUE""",
            ),
        ),
        ("tests/core/contacts/test_service.py",),
    ),
    Mutant(
        "the operator's word",
        (
            (
                "core/users/settings.py",
                "if admins_own.customizable and id_ in own else shown",
                "if id_ in own else shown",
            ),
        ),
        ("tests/core/users/test_settings.py",),
    ),
    Mutant(
        "one refresh at a time",
        (
            (
                "storage/transactions/users.py",
                "(until is not None and is_held(until, now, lease_ms))",
                "until == 0",
            ),
        ),
        ("tests/core/users/test_token_refresh.py", "tests/storage/transactions/test_users.py"),
    ),
    Mutant(
        "the claim of a grant that is dropped",
        (
            (
                "storage/sql/journal.sql",
                """SET "credentials" = :credentials, "refreshOwner" = NULL, "refreshUntil" = NULL, "updatedAt" = {now}
WHERE "id" = :id AND "tenant" = :tenant AND "platform" = :platform AND "refreshOwner" = :owner""",
                """SET "credentials" = :credentials, "refreshOwner" = NULL, "refreshUntil" = NULL, "updatedAt" = {now}
WHERE "id" = :id AND "tenant" = :tenant AND "platform" = :platform AND :owner = :owner""",
            ),
        ),
        ("tests/core/users/test_token_refresh.py", "tests/storage/transactions/test_users.py"),
    ),
    Mutant(
        "what a change of a user makes of what was read before",
        (("core/users/directory.py", "        if changes != self._changes:\n", "        if False:\n"),),
        ("tests/core/users/test_token_refresh.py", "-k", "remembered"),
    ),
    Mutant(
        "the single use of a state",
        (("storage/transactions/users.py", "    return bool(rows[0])\n", "    return True\n"),),
        ("tests/server/routes/test_oauth.py", "-k", "once"),
    ),
    Mutant(
        "the page that a code comes back to",
        (("server/routes/oauth.py", "    if page != context.config.redirect_uri:\n", "    if False:\n"),),
        ("tests/server/routes/test_oauth.py", "-k", "another_host"),
    ),
    Mutant(
        "the session in a token",
        (("server/requests.py", "user.session_id != claims.session_id or ", ""),),
        ("tests/server/test_sessions.py",),
    ),
    Mutant(
        "the clock of a run",
        (
            (
                "core/delivery/runs.py",
                "outcome.error is not None or timer.is_over()",
                "outcome.error is not None",
            ),
        ),
        ("tests/core/delivery/test_runs.py", "-k", "paused"),
    ),
    Mutant(
        "the rows of a run that are there",
        (
            (
                "core/delivery/reconcile.py",
                "        if not there.rows:\n",
                "        if len(there.rows) < len(step.rows):\n",
            ),
        ),
        ("tests/core/delivery/test_runs.py", "-k", "cut_off"),
    ),
    Mutant(
        "a run ends before equal texts",
        (
            (
                "core/delivery/runs.py",
                "            if call.is_ambiguous:\n                break\n",
                "",
            ),
            ("core/delivery/runs.py", "not call.hashes or call.is_ambiguous:", "not call.hashes:"),
        ),
        ("tests/core/delivery/test_runs.py", "-k", "copy"),
    ),
    Mutant(
        "whose log stands beside a file",
        (
            (
                "storage/sqlite/wal.py",
                "_at_most(first.transactions - 1, file.transactions)",
                "bool(file)",
            ),
        ),
        ("tests/storage/sqlite/test_wal.py",),
    ),
    Mutant(
        "the file is in its place",
        (
            (
                "storage/sqlite/writer.py",
                "            self._check()\n            if self._connection is None:",
                "            if self._connection is None:",
            ),
            (
                "storage/sqlite/writer.py",
                "            self._check()  # what went",
                "            # what went",
            ),
        ),
        ("tests/storage/sqlite/test_store.py",),
    ),
    Mutant(
        "what stands beside a restored file goes first",
        (
            (
                "storage/sqlite/copy.py",
                "    for suffix in BESIDE:\n        beside(path, suffix).unlink(missing_ok=True)\n",
                "",
            ),
        ),
        ("tests/storage/sqlite/test_copy.py",),
    ),
    Mutant(
        "the probe of who waits",
        (
            (
                "core/rate_limits/budget.py",
                "    if urgency is Urgency.BACKLOG:\n        return max(0, pace.probe_at - now)\n",
                "    if True:\n        return max(0, pace.probe_at - now)\n",
            ),
        ),
        ("tests/core/rate_limits/test_budget.py", "-k", "live_work or not_waited_for"),
    ),
    Mutant(
        "the waking of what waits for a CRM",
        (("storage/transactions/limits.py", "    if changed.wakes:\n", "    if False:\n"),),
        ("tests/storage/transactions/test_waking.py",),
    ),
    Mutant(
        "the refused repeat of a create",
        (
            (
                "core/delivery/reconcile.py",
                "                return replace(step.on_reconciled(Reconciliation.NOBODY_KNOWS), error=error)\n",
                "                return step.on_error(error)\n",
            ),
        ),
        ("tests/core/delivery/test_reconcile.py", "-k", "says_nothing"),
    ),
    Mutant(
        "facts only advance",
        (
            (
                "storage/records/journal.py",
                "self.told == known.told or self.at < known.at or ",
                "self.told == known.told or ",
            ),
            (
                "storage/records/journal.py",
                "return self.at > known.at or self.kinds > known.kinds",
                "return True",
            ),
        ),
        ("tests/core/delivery/test_changes.py", "-k", "older"),
    ),
    Mutant(
        "a change parks alone",
        (
            (
                "core/delivery/outcomes.py",
                '    if log.call == "change":\n        return Outcome(replace(log, reason=None, attempt_count',
                "    if False:\n        return Outcome(replace(log, reason=None, attempt_count",
            ),
        ),
        ("tests/core/delivery/test_changes.py", "-k", "parked_alone"),
    ),
    Mutant(
        "the count before a change that reads like another",
        (
            (
                "core/delivery/steps.py",
                'if log.call == "create" or not step.capabilities.reads_back',
                'if log.call in {"create", "change"} or not step.capabilities.reads_back',
            ),
        ),
        ("tests/core/delivery/test_changes.py", "-k", "alike"),
    ),
    Mutant(
        "the hash of a changed entry",
        (
            (
                "core/delivery/outcomes.py",
                "    entry = None if entry_hash is None else (message_id_of(row.id), entry_hash)",
                "    entry = None",
            ),
        ),
        ("tests/core/delivery/test_changes.py", "-k", "second_change"),
    ),
    Mutant(
        "a mistake does not end a change",
        (
            (
                "core/delivery/outcomes.py",
                '    if log.call == "change":\n        return _change_broke(log, rows, FailureReason.MISTAKE',
                "    if False:\n        return _change_broke(log, rows, FailureReason.MISTAKE",
            ),
        ),
        ("tests/core/delivery/test_changes.py", "-k", "mistake"),
    ),
    Mutant(
        "what is too long says that it did not arrive",
        (("compose/log.py", "    if failure:\n", "    if False:\n"),),
        ("tests/compose/test_limits.py", "-k", "arrive"),
    ),
)
