-- Named statements of the journal, one text for both databases. ":name" is a parameter. What the databases spell
-- differently stands in braces: {now} is the database's clock in epoch milliseconds; {lock} locks the rows that
-- are read until the transaction ends; {in_ids} and {ids} are the list :ids, as a condition and as a table; {cause} is
-- the first word of "reason". So does what all of them share: {log_key}, {log_values} and {row_values} are columns in the
-- order of `transactions/mapping.py`; {this_log} finds a conversation log, or what belongs to it, and {this_row} a message, by
-- all columns of the key; {these_logs} and {these_rows} find those of the list :ids that have the rest of it in common.

-- name: lock_log
-- The conversation log as it is, for the transaction that changes it, and what time it is once it is ours: the
-- clock stands outside, so that it is read after the lock was waited for.
SELECT {log_values}, {now}
FROM (SELECT * FROM "conversationLogs"
      WHERE {this_log}
      {lock}) AS log

-- name: lock_claim
-- Whose a conversation log is and what is called for it, for the transaction that ends the call; and what time it is,
-- as in lock_log.
SELECT "owner", "fence", "callUser", "thirdPartyLogId", {now}
FROM (SELECT * FROM "conversationLogs"
      WHERE {this_log}
      {lock}) AS log

-- name: insert_log
-- A new conversation log, claimed already; :due_in is how long (ms) the claim lasts. There is no ON CONFLICT: a
-- transaction that was overtaken by another has to be repeated.
INSERT INTO "conversationLogs" (
    "tenant", "platform", "clientLogId", "shared", "groupContactId", "conversationLogId", "conversationId", "journal",
    "contactId", "contactType", "contactName", "pins", "state", "generation", "version", "blocks", "owner", "fence",
    "dueAt", "call", "callUser", "callVersion", "tries", "asks", "bodySize", "createdAt", "updatedAt")
VALUES (:tenant, :platform, :log, :shared, :group_contact, :shown_log, :conversation, :journal,
    :contact_id, :contact_type, :contact_name, :pins,
    'open', 1, 0, :blocks, :owner, :fence, {now} + CAST(:due_in AS bigint), :call, :call_user, :call_version, 0, 0, 0,
    {now}, {now})

-- name: save_log
-- Everything of a conversation log that may change. Its transaction has locked it, and has checked the fence.
UPDATE "conversationLogs"
SET "contactId" = :contact_id, "contactType" = :contact_type, "contactName" = :contact_name, "pins" = :pins,
    "state" = :state, "reason" = :reason, "thirdPartyLogId" = :third_party_log_id, "generation" = :generation,
    "createdBy" = :created_by, "version" = :version, "blocks" = :blocks, "owner" = :owner, "fence" = :fence,
    "dueAt" = :due_at, "call" = :call, "callUser" = :call_user, "callVersion" = :call_version,
    "callBefore" = :call_before, "tries" = :tries, "asks" = :asks, "bodySize" = :body_size,
    "earlier" = :earlier, "refusals" = :refusals, "updatedAt" = {now}
WHERE {this_log}

-- name: find_rows
-- The rows of these ids, whatever conversation log of their kind they are in.
SELECT {row_values}, NULL
FROM "messageLogs"
WHERE {these_rows}

-- name: lock_failed
-- Which of these ids are failed still. A failed row is the only one that a request for another conversation log
-- may take: it is locked, in the order of all requests, so that two cannot.
SELECT "messageId"
FROM "messageLogs"
WHERE {these_rows} AND "state" = 'failed'
ORDER BY "messageId"
{lock}

-- name: insert_row
-- A message is accepted -> planned; calling, when its call is next; parked, where its conversation log is. There
-- is no ON CONFLICT: a transaction that was overtaken by a request for another conversation log has to be repeated.
INSERT INTO "messageLogs" (
    "tenant", "platform", "messageId", "clientLogId", "shared", "groupContactId", "id", "conversationId",
    "conversationLogId", "userId", "state", "reason", "sentAt", "version", "payload", "facts", "factsAt", "createdAt",
    "updatedAt")
VALUES (:tenant, :platform, :id, :log, :shared, :group_contact, :shown, :conversation,
    :shown_log, :user, :state, :reason, :sent_at, :version, :payload, :facts, :facts_at, {now}, {now})

-- name: replan_row
-- failed, a colleague's that waits for a sign-in, or an older snapshot in whatever state -> planned or calling (or as it
-- is), with new text.
UPDATE "messageLogs"
SET "conversationId" = :conversation, "clientLogId" = :log, "conversationLogId" = :shown_log, "userId" = :user,
    "state" = :state, "reason" = :reason, "sentAt" = :sent_at, "version" = :version, "entryHash" = NULL,
    "payload" = :payload, "facts" = :facts, "factsAt" = :facts_at, "thirdPartyLogId" = NULL, "updatedAt" = {now}
WHERE {this_row}

-- name: advance_row
-- The record of a message says something else than it did: it is known from now on.
UPDATE "messageLogs"
SET "facts" = :facts, "factsAt" = :facts_at, "changes" = :changes
WHERE {this_row}

-- name: rehash_row
-- A change has put another entry in the place of a logged message's.
UPDATE "messageLogs"
SET "entryHash" = :entry_hash, "updatedAt" = {now}
WHERE {this_row} AND "clientLogId" = :log AND "state" = 'logged'

-- name: forget_facts
-- A change has failed while its message is not logged: what the record says is new when it is sent again.
UPDATE "messageLogs"
SET "facts" = NULL, "factsAt" = NULL, "updatedAt" = {now}
WHERE {this_row} AND "clientLogId" = :log AND "state" <> 'logged'

-- name: replan_gone
-- logged in an activity that is gone -> planned, with new text.
UPDATE "messageLogs"
SET "userId" = :user, "state" = 'planned', "reason" = NULL, "sentAt" = :sent_at, "version" = :version,
    "entryHash" = NULL, "payload" = :payload, "facts" = :facts, "factsAt" = :facts_at, "thirdPartyLogId" = NULL,
    "updatedAt" = {now}
WHERE {this_row} AND "clientLogId" = :log
  AND "state" = 'logged' AND "thirdPartyLogId" = :gone

-- name: fail_gone
-- logged in an activity that is gone, and in no request at hand -> failed, so that sending it again logs it again. Changes
-- (of what is no thread, whatever has a version) are gone with it.
UPDATE "messageLogs"
SET "state" = 'failed', "reason" = :reason, "entryHash" = NULL, "updatedAt" = {now}
WHERE {this_log} AND ("shared" OR "version" = 0)
  AND "state" = 'logged' AND "thirdPartyLogId" = :gone

-- name: call_rows
-- planned -> calling.
UPDATE "messageLogs"
SET "state" = 'calling', "reason" = NULL, "updatedAt" = {now}
WHERE {these_rows}

-- name: change_row
-- calling -> logged, failed, planned, waiting, unknown, parked. Erasing drops the sealed text. A shared thread of which a
-- newer snapshot than the one that was sent has arrived is not done: -> planned, with the newer text. A colleague's
-- does not wait for :user, whose call it was; whose unknown call it is can reconcile it, and is found by the sign-in.
UPDATE "messageLogs"
SET "state" = CASE WHEN :done AND "version" > :call_version THEN 'planned'
                   WHEN :state = 'waiting' AND "userId" <> CAST(:user AS text) THEN 'planned' ELSE :state END,
    "reason" = CASE WHEN :done AND "version" > :call_version THEN NULL
                    WHEN :state = 'waiting' AND "userId" <> CAST(:user AS text) THEN NULL ELSE :reason END,
    "userId" = CASE WHEN :state = 'unknown' THEN COALESCE(CAST(:user AS text), "userId") ELSE "userId" END,
    "thirdPartyLogId" = COALESCE(:third_party_log_id, "thirdPartyLogId"),
    "entryHash" = COALESCE(:entry_hash, "entryHash"),
    "payload" = CASE WHEN :erase AND "version" <= :call_version THEN NULL ELSE "payload" END,
    "updatedAt" = {now}
WHERE {this_row}

-- name: tell_row
-- What a row's text takes from the CRM, for a call that is about to leave.
UPDATE "messageLogs"
SET "payload" = :payload, "updatedAt" = {now}
WHERE {this_row}

-- name: change_waiting
-- planned -> failed, waiting or parked, for the rows behind one that was: a user's, or all. Those that wait
-- for their user are parked with the others.
UPDATE "messageLogs"
SET "state" = :state, "reason" = :reason, "updatedAt" = {now}
WHERE {this_log}
  AND ("state" = 'planned' OR ("state" = 'waiting' AND :state = 'parked'))
  AND (CAST(:user AS text) IS NULL OR "userId" = :user)

-- name: rows_in_state
-- The oldest rows of a conversation log in a state.
SELECT {row_values}, "payload"
FROM "messageLogs"
WHERE {this_log} AND "state" = :state
ORDER BY "sentAt", LENGTH("messageId"), "messageId"
LIMIT :limit

-- name: find_colleague
-- Another user than :user, of whom something waits in a conversation log.
SELECT "userId"
FROM "messageLogs"
WHERE {this_log} AND "state" = 'planned'
  AND "userId" <> COALESCE(CAST(:user AS text), '')
LIMIT 1

-- name: look_up
-- Which of these ids are not logged; the row without an id is the conversation log, where there is one. With :plain a
-- logged message of which something was told that may change counts as not logged. What is logged is read in one go, which
-- takes PostgreSQL half as long as looking up a hundred ids by themselves.
SELECT CAST(NULL AS text), "contactId", "contactName", "version", "state",
       "thirdPartyLogId" IS NOT NULL OR "earlier" IS NOT NULL
FROM "conversationLogs"
WHERE {this_log}
UNION ALL
SELECT wanted.id, NULL, NULL, NULL, NULL, NULL
FROM {ids} AS wanted
WHERE wanted.id NOT IN (
    SELECT "messageId" FROM "messageLogs"
    WHERE {these_rows} AND "state" = 'logged' AND ("facts" IS NULL OR NOT :plain))

-- name: find_facts
-- What is known of the facts of these messages, where they are logged: of those that have any, or with :every of all.
SELECT "messageId", "clientLogId", "facts", "factsAt"
FROM "messageLogs"
WHERE {these_rows} AND "state" = 'logged' AND ("facts" IS NOT NULL OR :every)

-- name: logs_of_days
-- The other logs of a conversation that have messages from :since to :until, where the log itself is not there; when
-- the first and the last of their messages were sent.
SELECT log."clientLogId", log."contactId", log."contactName", log."version", log."state",
       log."thirdPartyLogId" IS NOT NULL OR log."earlier" IS NOT NULL,
       (SELECT MIN(held."sentAt") FROM "messageLogs" AS held
        WHERE held."clientLogId" = log."clientLogId" AND held."groupContactId" = log."groupContactId"
          AND held."shared" = log."shared" AND held."tenant" = log."tenant" AND held."platform" = log."platform"),
       (SELECT MAX(held."sentAt") FROM "messageLogs" AS held
        WHERE held."clientLogId" = log."clientLogId" AND held."groupContactId" = log."groupContactId"
          AND held."shared" = log."shared" AND held."tenant" = log."tenant" AND held."platform" = log."platform")
FROM "conversationLogs" AS log
WHERE log."conversationId" = :conversation AND log."tenant" = :tenant AND log."platform" = :platform
  AND log."groupContactId" = :group_contact AND log."shared" = :shared
  AND NOT EXISTS (SELECT 1 FROM "conversationLogs" WHERE {this_log})
  AND EXISTS (SELECT 1 FROM "messageLogs" AS held
              WHERE held."clientLogId" = log."clientLogId" AND held."groupContactId" = log."groupContactId"
                AND held."shared" = log."shared" AND held."tenant" = log."tenant"
                AND held."platform" = log."platform" AND held."sentAt" >= :since AND held."sentAt" < :until)
ORDER BY log."createdAt", log."clientLogId"

-- name: twins
-- Which of these messages are logged, or on their way, for the same contact in its other kind of log: of a conversation
-- that is seen as one to one in :twin_group, its group's; of a group in the conversation's (:twin_group is empty).
SELECT held."messageId"
FROM "messageLogs" AS held
WHERE held."messageId" {in_ids} AND held."groupContactId" = :twin_group AND held."shared" = :shared
  AND held."tenant" = :tenant AND held."platform" = :platform AND held."state" <> 'failed'
  AND (CAST(:twin_group AS text) <> ''
       OR EXISTS (SELECT 1 FROM "conversationLogs" AS log
                  WHERE log."clientLogId" = held."clientLogId" AND log."groupContactId" = held."groupContactId"
                    AND log."shared" = held."shared" AND log."tenant" = held."tenant"
                    AND log."platform" = held."platform" AND log."contactId" = :contact_id))

-- name: holders
-- The contacts that some of these messages are logged for.
SELECT DISTINCT log."contactId", log."contactName"
FROM "messageLogs" AS held
JOIN "conversationLogs" AS log
  ON log."clientLogId" = held."clientLogId" AND log."groupContactId" = held."groupContactId"
 AND log."shared" = held."shared" AND log."tenant" = held."tenant" AND log."platform" = held."platform"
WHERE held."messageId" {in_ids} AND held."groupContactId" = :group_contact AND held."shared" = :shared
  AND held."tenant" = :tenant AND held."platform" = :platform
ORDER BY log."contactId"

-- name: find_links
-- Which activity holds each of these messages, where it is logged, and for whom: a group's for each of its contacts.
SELECT known."messageId", known."groupContactId", known."thirdPartyLogId", log."contactId"
FROM "messageLogs" AS known
JOIN "conversationLogs" AS log
  ON log."clientLogId" = known."clientLogId" AND log."groupContactId" = known."groupContactId"
 AND log."shared" = known."shared" AND log."tenant" = known."tenant" AND log."platform" = known."platform"
WHERE known."messageId" {in_ids} AND known."shared" = :shared
  AND known."tenant" = :tenant AND known."platform" = :platform
  AND known."state" = 'logged' AND known."thirdPartyLogId" IS NOT NULL
ORDER BY known."messageId", known."groupContactId"

-- name: report_rows
-- The states of these ids; of what is not done, why (of a call, its outcome so far), and how long its conversation log
-- waits for its next retry: if only its user can reconcile it, not today.
SELECT known."messageId", known."state",
       CASE WHEN known."state" = 'planned' AND log."owner" IS NULL
                 AND (log."dueAt" > {now} OR (log."dueAt" IS NULL AND log."call" IS NOT NULL)) THEN log."reason"
            WHEN known."state" = 'calling' THEN log."reason"
            ELSE known."reason" END,
       log."version",
       CASE WHEN log."owner" IS NULL AND log."dueAt" > {now} THEN log."dueAt" - {now}
            WHEN log."owner" IS NULL AND log."dueAt" IS NULL AND log."call" IS NOT NULL THEN 86400000 END
FROM "messageLogs" AS known
JOIN "conversationLogs" AS log
  ON log."clientLogId" = known."clientLogId" AND log."groupContactId" = known."groupContactId"
 AND log."shared" = known."shared" AND log."tenant" = known."tenant" AND log."platform" = known."platform"
WHERE known."messageId" {in_ids} AND known."groupContactId" = :group_contact AND known."shared" = :shared
  AND known."tenant" = :tenant AND known."platform" = :platform

-- name: entries_of_activity
-- What an activity holds by the journal: time, hash and id of each entry.
SELECT "sentAt", "entryHash", "messageId"
FROM "messageLogs"
WHERE {this_log}
  AND "state" = 'logged' AND "thirdPartyLogId" = :third_party_log_id AND "entryHash" IS NOT NULL

-- name: linked_activities
-- The activities of a contact that belong to other conversation logs.
SELECT "thirdPartyLogId"
FROM "conversationLogs"
WHERE "contactId" = :contact_id AND "tenant" = :tenant AND "platform" = :platform
  AND NOT ({this_log}) AND "thirdPartyLogId" IS NOT NULL

-- name: due_tenants
-- Tenants of a platform that have a log that may be claimed now, without those whose CRM must not be called yet (a time
-- beyond :longest_ms is that of a clock that was wrong); those behind :after in the order of their names. Goes from
-- tenant to tenant through the index, over their logs.
WITH RECURSIVE following (tenant) AS (
    SELECT (SELECT MIN("tenant") FROM "conversationLogs"
            WHERE "platform" = :platform AND "tenant" > :after AND "dueAt" IS NOT NULL)
    UNION ALL
    SELECT (SELECT MIN(log."tenant") FROM "conversationLogs" AS log
            WHERE log."platform" = :platform AND log."tenant" > following.tenant AND log."dueAt" IS NOT NULL)
    FROM following
    WHERE following.tenant IS NOT NULL
)
SELECT following.tenant
FROM following
WHERE following.tenant IS NOT NULL
  AND (SELECT MIN(log."dueAt") FROM "conversationLogs" AS log
       WHERE log."platform" = :platform AND log."tenant" = following.tenant AND log."dueAt" IS NOT NULL)
      <= (SELECT {now})
  AND COALESCE((SELECT pace."catchUpAt" FROM "paces" AS pace
                WHERE pace."tenant" = following.tenant AND pace."platform" = :platform), 0)
      NOT BETWEEN (SELECT {now} + 1) AND (SELECT {now} + :longest_ms)
LIMIT :limit

-- name: due_logs
-- Conversation logs of a tenant that may be claimed now: a lease that ran out, a retry, a reconciliation.
-- The clock is read once, in a query of its own, so that the index can be asked.
SELECT {log_key}
FROM "conversationLogs"
WHERE "platform" = :platform AND "tenant" = :tenant AND "dueAt" IS NOT NULL AND "dueAt" <= (SELECT {now})
ORDER BY "dueAt"
LIMIT :limit

-- name: misdated_logs
-- Conversation logs that are due further away than anything is put off: a clock was wrong when that was written.
SELECT {log_key}
FROM "conversationLogs"
WHERE "dueAt" > (SELECT {now} + :longest_ms)
ORDER BY "dueAt"
LIMIT :limit

-- name: redate_log
-- Due now; if it is claimed, at the end of a lease, since the process that claimed it may be alive.
UPDATE "conversationLogs"
SET "dueAt" = CASE WHEN "owner" IS NULL THEN {now} ELSE {now} + CAST(:lease_ms AS bigint) END
WHERE {this_log} AND "dueAt" > {now} + CAST(:longest_ms AS bigint)

-- name: next_due
-- When the next conversation log is due, and what time it is for the database.
SELECT MIN("dueAt"), {now} FROM "conversationLogs" WHERE "dueAt" IS NOT NULL

-- name: count_open
-- How many messages met with trouble and are not logged, by platform and state, and how old (ms) the oldest is, for the
-- metrics: by an index of those.
SELECT "platform", "state", COUNT(*), {now} - MIN("createdAt")
FROM "messageLogs"
WHERE "reason" IS NOT NULL AND "state" <> 'logged'
GROUP BY "platform", "state"
ORDER BY "platform", "state"

-- name: count_logs
-- How many conversation logs there are, for people.
SELECT COUNT(*) FROM "conversationLogs"

-- name: list_logs
-- Conversation logs, the last changed first, for people.
SELECT {log_key}, {log_values}
FROM "conversationLogs"
ORDER BY "updatedAt" DESC
LIMIT :limit

-- name: find_log
-- One conversation log.
SELECT {log_values}
FROM "conversationLogs"
WHERE {this_log}

-- name: logs_by_id
-- Conversation logs that are shown with the id :shown, of whatever tenant and platform, for people: :ids are those that
-- they may have without a group's contact.
SELECT {log_key}, {log_values}
FROM "conversationLogs"
WHERE "clientLogId" {in_ids} AND "conversationLogId" = :shown
ORDER BY {log_key}

-- name: logs_of_message
-- The conversation logs that hold a message that is shown with the id :shown, in the same way.
SELECT {log_key}, {log_values}
FROM "conversationLogs" AS log
WHERE ("clientLogId", "groupContactId", "shared", "tenant", "platform") IN (
    SELECT held."clientLogId", held."groupContactId", held."shared", held."tenant", held."platform"
    FROM "messageLogs" AS held
    WHERE held."messageId" {in_ids} AND held."id" = :shown)
ORDER BY {log_key}

-- name: rows_of_log
-- All rows of a conversation log, for people.
SELECT {row_values}, NULL
FROM "messageLogs"
WHERE {this_log}
ORDER BY "sentAt", LENGTH("messageId"), "messageId"

-- name: count_states
-- How many rows of a conversation log are in each state.
SELECT "state", COUNT(*)
FROM "messageLogs"
WHERE {this_log}
GROUP BY "state"

-- name: find_user
SELECT "name", "hostname", "timezone", "timezoneOffset", "credentials", "sessionId", "signInSince", "createdAt",
       "updatedAt", (SELECT "crmTenant" FROM "tenants" WHERE "tenant" = :tenant AND "platform" = :platform LIMIT 1)
FROM "users"
WHERE "id" = :id AND "tenant" = :tenant AND "platform" = :platform

-- name: save_user
-- A user who signs in again keeps the session, and with it the tokens in other browsers. A refresh that is under way
-- is of credentials that are replaced: its claim is taken away. So is what the CRM said of the earlier ones.
INSERT INTO "users" ("tenant", "platform", "id", "name", "hostname", "timezone", "timezoneOffset", "credentials",
    "sessionId", "createdAt", "updatedAt")
VALUES (:tenant, :platform, :id, :name, :hostname, :timezone, :timezone_offset, :credentials, :session_id,
    {now}, {now})
ON CONFLICT ("id", "tenant", "platform") DO UPDATE
SET "name" = :name, "hostname" = :hostname, "timezone" = :timezone, "timezoneOffset" = :timezone_offset,
    "credentials" = :credentials, "refreshOwner" = NULL, "refreshUntil" = NULL, "signInSince" = NULL,
    "updatedAt" = {now}

-- name: sign_out
-- Ends the session: no earlier token is valid any more, and there are no credentials to call the CRM with.
UPDATE "users"
SET "credentials" = NULL, "sessionId" = :session_id, "refreshOwner" = NULL, "refreshUntil" = NULL,
    "updatedAt" = {now}
WHERE "id" = :id AND "tenant" = :tenant AND "platform" = :platform

-- name: lock_user
-- The user's credentials, until when a refresh is claimed, since when they are refused, and what time it is once
-- the row is locked. A transaction that locks conversation logs too locks the user first.
SELECT "credentials", "refreshUntil", "signInSince", {now}
FROM (SELECT * FROM "users"
      WHERE "id" = :id AND "tenant" = :tenant AND "platform" = :platform
      {lock}) AS held

-- name: pause_user
-- The CRM takes the credentials no more: the user's work waits until they sign in again.
UPDATE "users"
SET "signInSince" = {now}, "updatedAt" = {now}
WHERE "id" = :id AND "tenant" = :tenant AND "platform" = :platform

-- name: logs_of_user
-- The conversation logs in which something waits for a user to sign in: a call, or the reconciliation of one.
SELECT DISTINCT {log_key}
FROM "messageLogs"
WHERE "userId" = :id AND "tenant" = :tenant AND "platform" = :platform
  AND ("state" = 'waiting' OR "state" = 'unknown')

-- name: lock_logs
-- Several conversation logs, in the order in which every transaction locks more than one.
SELECT "clientLogId"
FROM "conversationLogs"
WHERE {these_logs}
ORDER BY "clientLogId"
{lock}

-- name: resume_rows
-- waiting -> planned: the user has signed in. The conversation logs are locked.
UPDATE "messageLogs"
SET "state" = 'planned', "reason" = NULL, "updatedAt" = {now}
WHERE {these_logs} AND "state" = 'waiting'
  AND "userId" = :id

-- name: wake_logs
-- They may be claimed now, unless they are claimed. A call that was not reconciled yet is left alone: the CRM's search
-- may still lag behind. So is one that was refused, and is to be asked about again.
UPDATE "conversationLogs"
SET "dueAt" = {now}
WHERE {these_logs} AND "state" = 'open'
  AND "owner" IS NULL AND ("dueAt" IS NULL OR "dueAt" > {now})
  AND ("call" IS NULL OR "dueAt" IS NULL OR ("asks" > 0 AND COALESCE("reason", '') NOT LIKE 'rejected:%'))

-- name: claim_refresh
-- Only the holder of the claim may send the refresh token. A claim that has run out may be taken.
UPDATE "users"
SET "refreshOwner" = :owner, "refreshUntil" = :until
WHERE "id" = :id AND "tenant" = :tenant AND "platform" = :platform

-- name: save_credentials
-- The outcome of a refresh, unless its claim was lost: to a sign-in, a sign-out, or the next claim. NULL says that
-- the CRM takes the refresh token no more.
UPDATE "users"
SET "credentials" = :credentials, "refreshOwner" = NULL, "refreshUntil" = NULL, "updatedAt" = {now}
WHERE "id" = :id AND "tenant" = :tenant AND "platform" = :platform AND "refreshOwner" = :owner

-- name: release_refresh
-- A refresh that has failed releases its claim.
UPDATE "users"
SET "refreshOwner" = NULL, "refreshUntil" = NULL
WHERE "id" = :id AND "tenant" = :tenant AND "platform" = :platform AND "refreshOwner" = :owner

-- name: use_state
-- A state of OAuth is used: one row the first time, none from then on.
INSERT INTO "oauthStates" ("id", "expiresAt")
VALUES (:id, :expires_at)
ON CONFLICT ("id") DO NOTHING
RETURNING "id"

-- name: forget_states
-- States that are too old to be used need not be remembered.
DELETE FROM "oauthStates" WHERE "expiresAt" < (SELECT {now})

-- name: refresh_user
-- What the CRM says of a user now. The credentials are left alone: they may be refreshed at this moment.
UPDATE "users"
SET "name" = :name, "timezone" = :timezone, "timezoneOffset" = :timezone_offset, "updatedAt" = {now}
WHERE "id" = :id AND "tenant" = :tenant AND "platform" = :platform

-- name: user_settings
SELECT "settingId", "setting"
FROM "userSettings"
WHERE "userId" = :user AND "tenant" = :tenant AND "platform" = :platform
ORDER BY "settingId"

-- name: save_user_setting
INSERT INTO "userSettings" ("tenant", "platform", "userId", "settingId", "setting", "updatedAt")
VALUES (:tenant, :platform, :user, :setting_id, :setting, {now})
ON CONFLICT ("userId", "tenant", "platform", "settingId") DO UPDATE
SET "setting" = :setting, "updatedAt" = {now}

-- name: drop_user_setting
DELETE FROM "userSettings"
WHERE "userId" = :user AND "tenant" = :tenant AND "platform" = :platform AND "settingId" = :setting_id

-- name: admin_settings
SELECT "settingId", "setting"
FROM "adminSettings"
WHERE "tenant" = :tenant AND "platform" = :platform
ORDER BY "settingId"

-- name: save_admin_setting
INSERT INTO "adminSettings" ("tenant", "platform", "settingId", "setting", "updatedAt")
VALUES (:tenant, :platform, :setting_id, :setting, {now})
ON CONFLICT ("tenant", "platform", "settingId") DO UPDATE
SET "setting" = :setting, "updatedAt" = {now}

-- name: drop_admin_setting
DELETE FROM "adminSettings"
WHERE "tenant" = :tenant AND "platform" = :platform AND "settingId" = :setting_id

-- name: find_contacts
-- Who has a number, as the CRM said once, and when that was; and what time it is, known or not.
SELECT (SELECT "contacts" FROM "contacts"
        WHERE "phoneNumber" = :number AND "tenant" = :tenant AND "platform" = :platform),
       (SELECT "foundAt" FROM "contacts"
        WHERE "phoneNumber" = :number AND "tenant" = :tenant AND "platform" = :platform),
       {now}

-- name: save_contacts
-- What the CRM answered when it was asked at :asked_at. What was found or forgotten since then stays, but for what a
-- clock that was wrong has dated ahead.
INSERT INTO "contacts" ("tenant", "platform", "phoneNumber", "contacts", "foundAt")
VALUES (:tenant, :platform, :number, :contacts, {now})
ON CONFLICT ("phoneNumber", "tenant", "platform") DO UPDATE
SET "contacts" = :contacts, "foundAt" = {now}
WHERE "contacts"."foundAt" <= :asked_at OR "contacts"."foundAt" > {now}

-- name: drop_contacts
-- No contact has the number, by the CRM's answer when it was asked at :asked_at.
DELETE FROM "contacts"
WHERE "phoneNumber" = :number AND "tenant" = :tenant AND "platform" = :platform
  AND ("foundAt" <= :asked_at OR "foundAt" > {now})

-- name: forget_contacts
-- A contact has the number from now on: the row stays, with nothing in it, so that a request to the CRM that began
-- before does not bring back its answer.
INSERT INTO "contacts" ("tenant", "platform", "phoneNumber", "contacts", "foundAt")
VALUES (:tenant, :platform, :number, :contacts, {now})
ON CONFLICT ("phoneNumber", "tenant", "platform") DO UPDATE
SET "contacts" = :contacts, "foundAt" = {now}

-- name: drop_old_contacts
DELETE FROM "contacts"
WHERE "foundAt" < (SELECT {now} - :age_ms)

-- name: insert_new_contact
-- An attempt begins to make a contact -> making; nothing if one has begun before.
INSERT INTO "newContacts" ("tenant", "platform", "key", "state", "owner", "until")
VALUES (:tenant, :platform, :key, 'making', :owner, {now} + :lease_ms)
ON CONFLICT ("key", "tenant", "platform") DO NOTHING

-- name: lock_new_contact
-- A contact that an attempt makes or has made, and what time it is once it is locked, as in lock_log.
SELECT "state", "owner", "until", "contact", {now}
FROM (SELECT * FROM "newContacts"
      WHERE "key" = :key AND "tenant" = :tenant AND "platform" = :platform
      {lock}) AS made

-- name: take_new_contact
-- The attempt before is done, or gone -> making.
UPDATE "newContacts"
SET "state" = 'making', "owner" = :owner, "until" = {now} + :lease_ms, "contact" = NULL
WHERE "key" = :key AND "tenant" = :tenant AND "platform" = :platform

-- name: settle_new_contact
-- The outcome: making -> made, or unknown. An attempt that was replaced changes nothing.
UPDATE "newContacts"
SET "state" = :state, "until" = {now} + :hold_ms, "contact" = :contact
WHERE "key" = :key AND "tenant" = :tenant AND "platform" = :platform AND "owner" = :owner

-- name: drop_new_contact
-- Known not made: the next attempt begins from the start.
DELETE FROM "newContacts"
WHERE "key" = :key AND "tenant" = :tenant AND "platform" = :platform AND "owner" = :owner

-- name: drop_old_new_contacts
DELETE FROM "newContacts"
WHERE "until" < (SELECT {now} - :age_ms)

-- name: insert_pace
-- Nothing is known of a tenant's pace yet; nothing when it is there.
INSERT INTO "paces" ("tenant", "platform", "circuit", "pace", "updatedAt")
VALUES (:tenant, :platform, 'closed', '{}', {now})
ON CONFLICT ("tenant", "platform") DO NOTHING

-- name: lock_pace
-- A tenant's pace, and what time it is once the row is ours, as in lock_log.
SELECT "pace", {now}
FROM (SELECT * FROM "paces"
      WHERE "tenant" = :tenant AND "platform" = :platform
      {lock}) AS pace

-- name: save_pace
UPDATE "paces"
SET "circuit" = :circuit, "notBefore" = :not_before, "catchUpAt" = :catch_up_at, "activeUntil" = :active_until,
    "openSince" = :open_since, "pace" = :pace, "updatedAt" = {now}
WHERE "tenant" = :tenant AND "platform" = :platform

-- name: active_paces
-- The tenants whose requests need a permit for now, whatever their connectors say, and what time it is.
SELECT "tenant", "platform", "circuit", "notBefore", "catchUpAt", "activeUntil", "openSince", {now}
FROM "paces"
WHERE "activeUntil" > (SELECT {now})
ORDER BY "activeUntil" DESC
LIMIT :limit

-- name: lock_waiting
-- A tenant's logs whose next retry is still to come, in the order in which every transaction locks more than one.
SELECT "clientLogId"
FROM "conversationLogs"
WHERE "platform" = :platform AND "tenant" = :tenant AND "dueAt" IS NOT NULL AND "dueAt" > (SELECT {now})
ORDER BY "clientLogId"
{lock}

-- name: wake_waiting
-- Those of them that wait because the CRM did not answer are due now. A call that was not reconciled yet was recorded
-- when the log was saved last: the CRM's search may lag behind for :settle_ms after that.
-- What the CRM has asked us to wait for, what it has refused, and what a mistake keeps waiting is left as it is.
UPDATE "conversationLogs"
SET "dueAt" = CASE WHEN "call" IS NOT NULL AND "asks" = 0 AND "updatedAt" + CAST(:settle_ms AS bigint) > {now}
                   THEN "updatedAt" + CAST(:settle_ms AS bigint) ELSE {now} END
WHERE "platform" = :platform AND "tenant" = :tenant AND "dueAt" IS NOT NULL AND "dueAt" > (SELECT {now})
  AND "dueAt" > CASE WHEN "call" IS NOT NULL AND "asks" = 0 THEN "updatedAt" + CAST(:settle_ms AS bigint) ELSE 0 END
  AND "owner" IS NULL AND "state" = 'open'
  AND ("asks" > 0 OR "reason" NOT LIKE 'rate_limited:%' AND "reason" NOT LIKE 'mistake:%')
  AND COALESCE("reason", '') NOT LIKE 'rejected:%' AND COALESCE("reason", '') NOT LIKE 'fault:%'

-- name: insert_operator
-- A new operator; nothing when there is one of that name.
INSERT INTO "operators" ("name", "password", "roles", "createdAt", "updatedAt")
VALUES (:name, :password, :roles, {now}, {now})
ON CONFLICT ("name") DO NOTHING
RETURNING "name"

-- name: find_operator
SELECT "password", "roles" FROM "operators" WHERE "name" = :name

-- name: list_operators
-- Operators in the order of their names, with the number of sessions that may still be used.
SELECT "name", "roles", "createdAt",
       (SELECT COUNT(*) FROM "operatorSessions" AS held
        WHERE held."operator" = "operators"."name" AND held."createdAt" > {now} - :age_ms
          AND held."usedAt" > {now} - :idle_ms)
FROM "operators"
WHERE "name" > :after
ORDER BY "name"
LIMIT :limit

-- name: change_password
UPDATE "operators" SET "password" = :password, "updatedAt" = {now} WHERE "name" = :name RETURNING "name"

-- name: rehash_password
-- The same password under newer parameters, unless it was changed meanwhile.
UPDATE "operators" SET "password" = :password, "updatedAt" = {now} WHERE "name" = :name AND "password" = :before

-- name: change_roles
UPDATE "operators" SET "roles" = :roles, "updatedAt" = {now} WHERE "name" = :name RETURNING "name"

-- name: drop_operator
DELETE FROM "operators" WHERE "name" = :name RETURNING "name"

-- name: lock_operator
-- An operator whose password is still the one that was checked, until the transaction ends.
SELECT "name", {now} FROM "operators" WHERE "name" = :name AND "password" = :password {lock}

-- name: insert_operator_session
INSERT INTO "operatorSessions" ("id", "operator", "createdAt", "usedAt") VALUES (:session, :name, {now}, {now})

-- name: find_operator_session
-- The operator of a session, with their present roles, when it was begun and last used, and what time it is.
SELECT held."operator", (SELECT whose."roles" FROM "operators" AS whose WHERE whose."name" = held."operator"),
       held."createdAt", held."usedAt", {now}
FROM "operatorSessions" AS held
WHERE held."id" = :session

-- name: touch_operator_session
UPDATE "operatorSessions" SET "usedAt" = {now} WHERE "id" = :session

-- name: drop_operator_session
DELETE FROM "operatorSessions" WHERE "id" = :session

-- name: drop_operator_sessions
DELETE FROM "operatorSessions" WHERE "operator" = :name RETURNING "id"

-- name: drop_old_operator_sessions
DELETE FROM "operatorSessions" WHERE "createdAt" < (SELECT {now} - :age_ms)

-- name: record_audit
-- Who looked at what, or did what. It never holds text of a message.
INSERT INTO "audit" ("id", "at", "operator", "act", "role", "tenant", "platform", "subject")
VALUES (:id, {now}, :operator, :act, :role, :tenant, :platform, :subject)

-- name: read_audit
-- What was recorded since :since, the newest first.
SELECT "id", "at", "operator", "act", "role", "tenant", "platform", "subject"
FROM "audit"
WHERE "at" >= :since
ORDER BY "at" DESC
LIMIT :limit

-- name: count_audit
-- How much was recorded since :since, of an operator or of all, for people.
SELECT COUNT(*)
FROM "audit"
WHERE "at" >= :since AND (CAST(:operator AS text) IS NULL OR "operator" = :operator)

-- name: read_audit_of
-- What was recorded of one operator since :since, the newest first.
SELECT "id", "at", "operator", "act", "role", "tenant", "platform", "subject"
FROM "audit"
WHERE "operator" = :operator AND "at" >= :since
ORDER BY "at" DESC
LIMIT :limit

-- name: sealed_rows
-- Rows of a conversation log with their sealed text, for an operator whose look is recorded in the same transaction.
SELECT {row_values}, "payload"
FROM "messageLogs"
WHERE {these_rows} AND "clientLogId" = :log
ORDER BY "sentAt", LENGTH("messageId"), "messageId"

-- name: drop_user
DELETE FROM "users" WHERE "id" = :id AND "tenant" = :tenant AND "platform" = :platform RETURNING "id"

-- name: drop_settings_of_user
DELETE FROM "userSettings" WHERE "userId" = :id AND "tenant" = :tenant AND "platform" = :platform
RETURNING "settingId"

-- name: walk_rows
-- All messages by their key, a page at a time: what is erased is erased so seldom that no index waits for it.
SELECT "messageId", {log_key}, "userId"
FROM "messageLogs"
WHERE ("messageId", "groupContactId", "shared", "tenant", "platform")
      > (:id, :group_contact, :shared, :tenant, :platform)
ORDER BY "messageId", "groupContactId", "shared", "tenant", "platform"
LIMIT :limit

-- name: walk_logs
-- All conversation logs by their key, a page at a time.
SELECT {log_key}
FROM "conversationLogs"
WHERE ("clientLogId", "groupContactId", "shared", "tenant", "platform")
      > (:log, :group_contact, :shared, :tenant, :platform)
ORDER BY "clientLogId", "groupContactId", "shared", "tenant", "platform"
LIMIT :limit

-- name: drop_unsent_of_user
-- What is known not to be in the CRM, and waits for an erased user -> gone. A colleague may send it again.
DELETE FROM "messageLogs"
WHERE {this_log} AND "userId" = :user
  AND "state" NOT IN ('calling', 'unknown', 'parked', 'logged')
RETURNING "id"

-- name: park_of_user
-- What may be in the CRM, and only the erased user could reconcile: calling, unknown, parked -> parked, without text.
UPDATE "messageLogs"
SET "state" = 'parked', "reason" = COALESCE("reason", :reason), "payload" = NULL, "userId" = '', "updatedAt" = {now}
WHERE {this_log} AND "userId" = :user
  AND "state" IN ('calling', 'unknown', 'parked')
RETURNING "id"

-- name: unlink_user
-- What is in the CRM stays logged, so that it is not logged again; not who logged it.
UPDATE "messageLogs"
SET "userId" = '', "payload" = NULL
WHERE {this_log} AND "userId" = :user
  AND "state" = 'logged'
RETURNING "id"

-- name: drop_rows_of_log
DELETE FROM "messageLogs"
WHERE {this_log}
RETURNING "id"

-- name: drop_log
DELETE FROM "conversationLogs"
WHERE {this_log}
RETURNING "clientLogId"

-- name: drop_users_of_tenant
DELETE FROM "users"
WHERE "tenant" = :tenant AND (CAST(:platform AS text) IS NULL OR "platform" = :platform)
RETURNING "id"

-- name: drop_user_settings_of_tenant
DELETE FROM "userSettings"
WHERE "tenant" = :tenant AND (CAST(:platform AS text) IS NULL OR "platform" = :platform)

-- name: drop_admin_settings_of_tenant
DELETE FROM "adminSettings"
WHERE "tenant" = :tenant AND (CAST(:platform AS text) IS NULL OR "platform" = :platform)

-- name: drop_contacts_of_tenant
DELETE FROM "contacts"
WHERE "tenant" = :tenant AND (CAST(:platform AS text) IS NULL OR "platform" = :platform)
RETURNING "phoneNumber"

-- name: drop_new_contacts_of_tenant
DELETE FROM "newContacts"
WHERE "tenant" = :tenant AND (CAST(:platform AS text) IS NULL OR "platform" = :platform)

-- name: drop_paces_of_tenant
DELETE FROM "paces" WHERE "tenant" = :tenant AND (CAST(:platform AS text) IS NULL OR "platform" = :platform)

-- name: blank_audit_of_tenant
-- Who looked at something of an erased tenant stays known; not what it was.
UPDATE "audit" SET "subject" = NULL
WHERE "tenant" = :tenant AND (CAST(:platform AS text) IS NULL OR "platform" = :platform)

-- name: logs_of_contact
-- The conversation logs of a contact, the oldest first.
SELECT {log_key}, {log_values}
FROM "conversationLogs"
WHERE "contactId" = :contact_id AND "tenant" = :tenant AND "platform" = :platform
ORDER BY "createdAt", {log_key}
-- name: find_keys
-- The keys of hashes: a handful, whatever is logged.
SELECT "purpose", "sealed"
FROM "keys"
WHERE "purpose" IN ('accounts', 'entries')

-- name: keep_key
-- A key is made once: the second process reads what is there.
INSERT INTO "keys" ("purpose", "sealed", "createdAt")
VALUES (:purpose, :sealed, {now})
ON CONFLICT ("purpose") DO NOTHING

-- name: list_users
-- Users in the order of their ids, after one of them, for people.
SELECT "tenant", "platform", "id", "name", "credentials" IS NOT NULL, "updatedAt", "hostname"
FROM "users"
WHERE ("id", "tenant", "platform") > (:id, :after_tenant, :platform) AND ("tenant" = :tenant OR :all_tenants)
ORDER BY "id", "tenant", "platform"
LIMIT :limit

-- name: end_session
-- A user's tokens end; with :forget there is nothing left to call the CRM with, as after a sign-out.
UPDATE "users"
SET "sessionId" = :session_id, "credentials" = CASE WHEN :forget THEN NULL ELSE "credentials" END,
    "refreshOwner" = CASE WHEN :forget THEN NULL ELSE "refreshOwner" END,
    "refreshUntil" = CASE WHEN :forget THEN NULL ELSE "refreshUntil" END, "updatedAt" = {now}
WHERE "id" = :id AND "tenant" = :tenant AND "platform" = :platform
RETURNING "id"

-- name: journal_id
-- The id of this journal: the table has one row.
SELECT "id" FROM "journal"

-- name: forget_journal_id
DELETE FROM "journal"

-- name: keep_journal_id
INSERT INTO "journal" ("id", "createdAt") VALUES (:journal, {now})

-- name: let_go_of_rows
-- What another journal goes on with -> failed. What has failed is not touched, since it goes on only when a user sends it again.
UPDATE "messageLogs"
SET "state" = 'failed', "reason" = :reason, "updatedAt" = {now}
WHERE "state" NOT IN ('logged', 'failed')

-- name: let_go_of_logs
-- No activity is this journal's, and no call under way: whatever comes next makes an activity, under a key of its own.
UPDATE "conversationLogs"
SET "journal" = :journal, "generation" = "generation" + 1, "thirdPartyLogId" = NULL, "earlier" = NULL, "createdBy" = NULL,
    "blocks" = :blocks, "bodySize" = 0, "state" = 'open', "reason" = NULL, "owner" = NULL, "fence" = "fence" + 1,
    "dueAt" = NULL, "call" = NULL, "callUser" = NULL, "callVersion" = 0, "callBefore" = NULL, "tries" = 0, "asks" = 0,
    "refusals" = 0

-- name: insert_probe
-- A row that its transaction takes away again: whether anything can be committed.
INSERT INTO "attempts" (
    "tenant", "platform", "clientLogId", "shared", "groupContactId", "fence", "id", "at", "call", "error", "body")
VALUES ('', '', '', FALSE, '', 0, :id, 0, '', '', :payload)

-- name: delete_probe
DELETE FROM "attempts" WHERE "id" = :id AND "tenant" = '' AND "platform" = ''
