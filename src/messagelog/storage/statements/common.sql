-- Named statements of the journal, for both databases. ":name" is a parameter; {now} is the database's clock in
-- epoch milliseconds; {lock} locks the rows that are read until the transaction ends.

-- name: lock_log
-- The conversation log as it is, for the transaction that changes it.
SELECT "conversationId", "shared", "contactId", "contactType", "contactName", "pins", "state", "reason",
       "thirdPartyLogId", "generation", "createdBy", "version", "blocks", "owner", "fence", "dueAt",
       "call", "callUser", "callVersion", "callBefore", "tries", "asks", "createdAt", "updatedAt", {now}
FROM "conversationLogs"
WHERE "tenant" = :tenant AND "platform" = :platform AND "conversationLogId" = :log
{lock}

-- name: insert_log
-- A new conversation log; nothing when somebody was faster.
INSERT INTO "conversationLogs" (
    "tenant", "platform", "conversationLogId", "conversationId", "shared", "contactId", "contactType",
    "contactName", "pins", "state", "generation", "version", "blocks", "fence", "callVersion", "tries", "asks",
    "createdAt", "updatedAt")
VALUES (:tenant, :platform, :log, :conversation, :shared, :contact_id, :contact_type, :contact_name, :pins,
    'open', 1, 0, :blocks, 0, 0, 0, 0, {now}, {now})
ON CONFLICT ("tenant", "platform", "conversationLogId") DO NOTHING

-- name: save_log
-- Everything of a conversation log that a claim may change. The fencing number of the claim before must still stand.
UPDATE "conversationLogs"
SET "contactId" = :contact_id, "contactType" = :contact_type, "contactName" = :contact_name, "pins" = :pins,
    "state" = :state, "reason" = :reason, "thirdPartyLogId" = :third_party_log_id, "generation" = :generation,
    "createdBy" = :created_by, "version" = :version, "blocks" = :blocks, "owner" = :owner, "fence" = :fence,
    "dueAt" = :due_at, "call" = :call, "callUser" = :call_user, "callVersion" = :call_version,
    "callBefore" = :call_before, "tries" = :tries, "asks" = :asks, "updatedAt" = {now}
WHERE "tenant" = :tenant AND "platform" = :platform AND "conversationLogId" = :log

-- name: insert_row
-- A message is accepted -> planned (or parked, where its conversation log is).
INSERT INTO "messageLogs" (
    "tenant", "platform", "id", "conversationId", "conversationLogId", "userId", "state", "reason", "sentAt",
    "version", "payload", "createdAt", "updatedAt")
VALUES (:tenant, :platform, :id, :conversation, :log, :user, :state, :reason, :sent_at, :version, :payload,
    {now}, {now})
ON CONFLICT ("tenant", "platform", "id") DO NOTHING

-- name: replan_row
-- failed (or logged in an activity that is gone, or an older snapshot) -> planned, with new text.
UPDATE "messageLogs"
SET "conversationId" = :conversation, "conversationLogId" = :log, "userId" = :user, "state" = :state,
    "reason" = :reason, "sentAt" = :sent_at, "version" = :version, "entryHash" = NULL, "payload" = :payload,
    "thirdPartyLogId" = NULL, "updatedAt" = {now}
WHERE "tenant" = :tenant AND "platform" = :platform AND "id" = :id

-- name: change_row
-- calling -> logged, failed, planned, unknown, parked. Erasing drops the sealed text.
UPDATE "messageLogs"
SET "state" = :state, "reason" = :reason,
    "thirdPartyLogId" = COALESCE(:third_party_log_id, "thirdPartyLogId"),
    "entryHash" = COALESCE(:entry_hash, "entryHash"),
    "payload" = CASE WHEN :erase THEN NULL ELSE "payload" END, "updatedAt" = {now}
WHERE "tenant" = :tenant AND "platform" = :platform AND "id" = :id

-- name: change_waiting
-- planned -> failed or parked, for the rows behind one that was: a user's, or everybody's.
UPDATE "messageLogs"
SET "state" = :state, "reason" = :reason, "updatedAt" = {now}
WHERE "tenant" = :tenant AND "platform" = :platform AND "conversationLogId" = :log AND "state" = 'planned'
  AND (CAST(:user AS text) IS NULL OR "userId" = :user)

-- name: rows_in_state
-- The oldest rows of a conversation log in a state.
SELECT "id", "conversationId", "conversationLogId", "thirdPartyLogId", "userId", "state", "reason", "sentAt",
       "version", "entryHash", "payload", "createdAt", "updatedAt"
FROM "messageLogs"
WHERE "tenant" = :tenant AND "platform" = :platform AND "conversationLogId" = :log AND "state" = :state
ORDER BY "sentAt", LENGTH("id"), "id"
LIMIT :limit

-- name: rows_of_log
-- All rows of a conversation log, for people.
SELECT "id", "conversationId", "conversationLogId", "thirdPartyLogId", "userId", "state", "reason", "sentAt",
       "version", "entryHash", NULL, "createdAt", "updatedAt"
FROM "messageLogs"
WHERE "tenant" = :tenant AND "platform" = :platform AND "conversationLogId" = :log
ORDER BY "sentAt", LENGTH("id"), "id"

-- name: entries_of_activity
-- What an activity holds by the journal: time and hash of each entry.
SELECT "sentAt", "entryHash"
FROM "messageLogs"
WHERE "tenant" = :tenant AND "platform" = :platform AND "conversationLogId" = :log
  AND "state" = 'logged' AND "thirdPartyLogId" = :third_party_log_id AND "entryHash" IS NOT NULL

-- name: linked_activities
-- The activities of a contact that belong to other conversation logs.
SELECT "thirdPartyLogId"
FROM "conversationLogs"
WHERE "tenant" = :tenant AND "platform" = :platform AND "contactId" = :contact_id
  AND "conversationLogId" <> :log AND "thirdPartyLogId" IS NOT NULL

-- name: due_logs
-- Conversation logs that somebody may take up now: a lease that ran out, a retry, a reconciliation.
SELECT "tenant", "platform", "conversationLogId"
FROM "conversationLogs"
WHERE "dueAt" <= {now}
ORDER BY "dueAt"
LIMIT :limit

-- name: next_due
-- When the next conversation log is due, and what time it is for the database.
SELECT MIN("dueAt"), {now} FROM "conversationLogs" WHERE "dueAt" IS NOT NULL

-- name: list_logs
-- Conversation logs, the last changed first, for people.
SELECT "tenant", "platform", "conversationLogId", "conversationId", "shared", "contactId", "contactType",
       "contactName", "pins", "state", "reason", "thirdPartyLogId", "generation", "createdBy", "version",
       "blocks", "owner", "fence", "dueAt", "call", "callUser", "callVersion", "callBefore", "tries", "asks",
       "createdAt", "updatedAt"
FROM "conversationLogs"
ORDER BY "updatedAt" DESC
LIMIT :limit

-- name: logs_by_id
-- Conversation logs with this id, of whatever tenant and platform, for people (few: an id is rarely shared).
SELECT "tenant", "platform", "conversationLogId", "conversationId", "shared", "contactId", "contactType",
       "contactName", "pins", "state", "reason", "thirdPartyLogId", "generation", "createdBy", "version",
       "blocks", "owner", "fence", "dueAt", "call", "callUser", "callVersion", "callBefore", "tries", "asks",
       "createdAt", "updatedAt"
FROM "conversationLogs"
WHERE "conversationLogId" = :log

-- name: logs_of_message
-- The conversation logs that hold a message with this id, for people.
SELECT DISTINCT "conversationLogId" FROM "messageLogs" WHERE "id" = :id

-- name: count_states
-- How many rows of a conversation log are in each state.
SELECT "state", COUNT(*)
FROM "messageLogs"
WHERE "tenant" = :tenant AND "platform" = :platform AND "conversationLogId" = :log
GROUP BY "state"

-- name: find_user
SELECT "name", "hostname", "timezone", "timezoneOffset", "credentials", "createdAt", "updatedAt"
FROM "users"
WHERE "tenant" = :tenant AND "platform" = :platform AND "id" = :id

-- name: save_user
INSERT INTO "users" ("tenant", "platform", "id", "name", "hostname", "timezone", "timezoneOffset", "credentials",
    "createdAt", "updatedAt")
VALUES (:tenant, :platform, :id, :name, :hostname, :timezone, :timezone_offset, :credentials, {now}, {now})
ON CONFLICT ("tenant", "platform", "id") DO UPDATE
SET "name" = :name, "hostname" = :hostname, "timezone" = :timezone, "timezoneOffset" = :timezone_offset,
    "credentials" = :credentials, "updatedAt" = {now}
