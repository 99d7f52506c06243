-- The inbox and retention: the calls that failed, the rows in trouble, and how long both are kept. A row in trouble is
-- one that has a reason. Of the three states of the inbox, "waiting" is all that is neither failed nor parked: it waits
-- for its next retry, for a reconciliation, or for a user who has to sign in.

-- name: insert_attempt
-- A call has failed. Each claim makes one call at most, so that its number (the fence) gives their order. If an earlier
-- commit of it was made and its answer was lost, the row exists: then the claim is found to be lost.
INSERT INTO "attempts" (
    "tenant", "platform", "clientLogId", "shared", "groupContactId", "fence", "id", "at", "call", "error", "status",
    "reason", "body")
VALUES (:tenant, :platform, :log, :shared, :group_contact, :fence, :id, {now}, :call, :error, :status, :reason, :body)
ON CONFLICT ("id", "tenant", "platform") DO NOTHING

-- name: trim_attempts
-- The newest are kept, as many as :keep.
DELETE FROM "attempts"
WHERE {this_log}
  AND "fence" <= (SELECT "fence" FROM "attempts"
                  WHERE {this_log}
                  ORDER BY "fence" DESC LIMIT 1 OFFSET :keep)

-- name: attempts_of_log
-- The failed calls of a conversation log, the last one first.
SELECT "fence", "id", "at", "call", "error", "status", "reason", "body"
FROM "attempts"
WHERE {this_log}
ORDER BY "fence" DESC

-- name: count_attempts
SELECT COUNT(*)
FROM "attempts"
WHERE {this_log}

-- name: rows_not_logged
-- The rows of a conversation log that are not done. Of the text it says whether there is any.
SELECT {row_values}, SUBSTR("payload", 1, 1)
FROM "messageLogs"
WHERE {this_log} AND "state" <> 'logged'
ORDER BY "sentAt", LENGTH("messageId"), "messageId"

-- name: texts_of_log
-- The sealed texts that a conversation log still has.
SELECT "messageId", "payload"
FROM "messageLogs"
WHERE {this_log} AND "payload" IS NOT NULL
ORDER BY "sentAt", LENGTH("messageId"), "messageId"

-- name: inbox
-- Conversation logs that have a row in trouble, the last changed first: each once, by the newest of its rows that are
-- asked for, from behind the last one of the page before. What is looked for in a log is asked for each by itself, since
-- a join would leave it to PostgreSQL's planner to read all of them.
SELECT {log_key}, "updatedAt", "messageId", "reason"
FROM "messageLogs" AS held
WHERE "reason" IS NOT NULL
  AND ("updatedAt", "messageId", "groupContactId", "shared", "tenant", "platform")
      < (:at, :id, :after_contact, :after_shared, :after_tenant, :after_platform)
  AND (CAST(:platform AS text) IS NULL OR "platform" = :platform)
  AND (CAST(:state AS text) IS NULL
       OR CASE WHEN "state" IN ('failed', 'parked') THEN "state" ELSE 'waiting' END = :state)
  AND (CAST(:cause AS text) IS NULL OR {cause} = :cause)
  AND (
    SELECT newer."messageId" FROM "messageLogs" AS newer
    WHERE newer."clientLogId" = held."clientLogId" AND newer."groupContactId" = held."groupContactId"
      AND newer."shared" = held."shared" AND newer."tenant" = held."tenant" AND newer."platform" = held."platform"
      AND "reason" IS NOT NULL AND (newer."updatedAt", newer."messageId") > (held."updatedAt", held."messageId")
      AND (CAST(:state AS text) IS NULL
           OR CASE WHEN "state" IN ('failed', 'parked') THEN "state" ELSE 'waiting' END = :state)
      AND (CAST(:cause AS text) IS NULL OR {cause} = :cause)
    LIMIT 1) IS NULL
ORDER BY "updatedAt" DESC, "messageId" DESC, "groupContactId" DESC, "shared" DESC, "tenant" DESC, "platform" DESC
LIMIT :limit

-- name: inbox_of_tenant
-- The same of one tenant, by an index of its own: another tenant's trouble costs it nothing.
SELECT {log_key}, "updatedAt", "messageId", "reason"
FROM "messageLogs" AS held
WHERE "reason" IS NOT NULL AND "tenant" = :tenant
  AND ("updatedAt", "messageId", "groupContactId", "shared", "platform")
      < (:at, :id, :after_contact, :after_shared, :after_platform)
  AND (CAST(:platform AS text) IS NULL OR "platform" = :platform)
  AND (CAST(:state AS text) IS NULL
       OR CASE WHEN "state" IN ('failed', 'parked') THEN "state" ELSE 'waiting' END = :state)
  AND (CAST(:cause AS text) IS NULL OR {cause} = :cause)
  AND (
    SELECT newer."messageId" FROM "messageLogs" AS newer
    WHERE newer."clientLogId" = held."clientLogId" AND newer."groupContactId" = held."groupContactId"
      AND newer."shared" = held."shared" AND newer."tenant" = held."tenant" AND newer."platform" = held."platform"
      AND "reason" IS NOT NULL AND (newer."updatedAt", newer."messageId") > (held."updatedAt", held."messageId")
      AND (CAST(:state AS text) IS NULL
           OR CASE WHEN "state" IN ('failed', 'parked') THEN "state" ELSE 'waiting' END = :state)
      AND (CAST(:cause AS text) IS NULL OR {cause} = :cause)
    LIMIT 1) IS NULL
ORDER BY "updatedAt" DESC, "messageId" DESC, "groupContactId" DESC, "shared" DESC, "platform" DESC
LIMIT :limit

-- name: inbox_log
-- What the inbox says of a conversation log's rows in each state: how many, how many of them have lost their text, since
-- when the oldest is there, and one of the users.
SELECT "state", COUNT(*), COUNT(*) - COUNT("payload"), MIN("createdAt"), MIN("userId")
FROM "messageLogs"
WHERE {this_log}
GROUP BY "state"

-- name: count_inbox
-- How many conversation logs have a row in trouble that is asked for, for people.
SELECT COUNT(*)
FROM (
    SELECT DISTINCT {log_key} FROM "messageLogs"
    WHERE "reason" IS NOT NULL AND (CAST(:tenant AS text) IS NULL OR "tenant" = :tenant)
      AND (CAST(:platform AS text) IS NULL OR "platform" = :platform)
      AND (CAST(:state AS text) IS NULL
           OR CASE WHEN "state" IN ('failed', 'parked') THEN "state" ELSE 'waiting' END = :state)
      AND (CAST(:cause AS text) IS NULL OR {cause} = :cause)) AS found

-- name: inbox_causes
-- How many messages, of how many conversation logs, came into trouble since :since, for what, and when.
SELECT "tenant", "platform", CASE WHEN "state" IN ('failed', 'parked') THEN "state" ELSE 'waiting' END, {cause},
       COUNT(*), COUNT(DISTINCT {one_log}), MIN("updatedAt"), MAX("updatedAt")
FROM "messageLogs"
WHERE "reason" IS NOT NULL AND "updatedAt" >= :since AND (CAST(:tenant AS text) IS NULL OR "tenant" = :tenant)
GROUP BY 1, 2, 3, 4
ORDER BY 1, 2, 3, 4

-- name: decide_row
-- A person has decided: failed, parked, waiting -> planned, logged, failed. Only from the state in which it was seen.
UPDATE "messageLogs"
SET "state" = :state, "reason" = :reason, "thirdPartyLogId" = COALESCE(:third_party_log_id, "thirdPartyLogId"),
    "payload" = CASE WHEN :erase THEN NULL ELSE "payload" END, "updatedAt" = {now}
WHERE {this_row} AND "clientLogId" = :log AND "state" = :was

-- name: move_log
-- A group's log goes to another contact, and with it all that is shown of it. Its calls have other keys from now on.
UPDATE "conversationLogs"
SET "groupContactId" = :to, "conversationLogId" = :shown_log, "conversationId" = :conversation,
    "journal" = :journal
WHERE {this_log}

-- name: move_row
-- One of its messages, whose text is sealed for where it goes; unless another log has taken it meanwhile.
UPDATE "messageLogs"
SET "groupContactId" = :to, "id" = :shown, "conversationLogId" = :shown_log, "conversationId" = :conversation,
    "payload" = :payload
WHERE {this_row} AND "clientLogId" = :log

-- name: move_attempts
UPDATE "attempts" SET "groupContactId" = :to WHERE {this_log}

-- name: logs_to_erase
-- Conversation logs with sealed text that have not been worked on for :age_ms.
SELECT {log_key}
FROM "messageLogs"
WHERE "reason" IS NOT NULL AND "payload" IS NOT NULL AND "updatedAt" < (SELECT {now} - :age_ms)
  AND "state" IN ('failed', 'parked', 'waiting')
ORDER BY "updatedAt"
LIMIT :limit

-- name: erase_rows
-- The text is erased, and the reason says so. What waited for a sign-in waits no more: there is nothing to send.
UPDATE "messageLogs"
SET "payload" = NULL, "updatedAt" = {now}, "state" = CASE WHEN "state" = 'waiting' THEN 'failed' ELSE "state" END,
    "reason" = 'expired: its text was erased; sent again, it can be logged again (' || "reason" || ')'
WHERE {this_log}
  AND "state" IN ('failed', 'parked', 'waiting') AND "reason" IS NOT NULL AND "payload" IS NOT NULL
  AND "updatedAt" < (SELECT {now} - :age_ms)

-- name: old_attempts
SELECT "id", "tenant", "platform"
FROM "attempts"
WHERE "at" < (SELECT {now} - :age_ms)
ORDER BY "at"
LIMIT :limit

-- name: drop_attempt
DELETE FROM "attempts"
WHERE "id" = :id AND "tenant" = :tenant AND "platform" = :platform

-- name: logs_to_drop
-- Conversation logs that have not been worked on for :age_ms, and of which all is logged. Never a shared thread: its next
-- snapshot holds all of it, and would be logged once more.
SELECT {log_key}
FROM "conversationLogs" AS log
WHERE "updatedAt" < (SELECT {now} - :age_ms) AND "dueAt" IS NULL AND "state" = 'open' AND NOT "shared"
  AND (
    SELECT held."messageId" FROM "messageLogs" AS held
    WHERE held."clientLogId" = log."clientLogId" AND held."groupContactId" = log."groupContactId"
      AND held."shared" = log."shared" AND held."tenant" = log."tenant" AND held."platform" = log."platform"
      AND held."state" <> 'logged'
    LIMIT 1) IS NULL
ORDER BY "updatedAt"
LIMIT :limit

-- name: drop_done_rows
DELETE FROM "messageLogs"
WHERE {this_log} AND "state" = 'logged'

-- name: drop_attempts
DELETE FROM "attempts"
WHERE {this_log}

-- name: drop_done_log
DELETE FROM "conversationLogs"
WHERE {this_log}
