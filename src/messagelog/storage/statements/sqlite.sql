-- Statements that take a list of ids: SQLite reads it from JSON text.

-- name: look_up
-- Which of these ids are not logged; the first row is the conversation log, where there is one.
SELECT NULL, "contactId", "contactName", "version", "state", "thirdPartyLogId" IS NOT NULL
FROM "conversationLogs"
WHERE "tenant" = :tenant AND "platform" = :platform AND "conversationLogId" = :log
UNION ALL
SELECT wanted.value, NULL, NULL, NULL, NULL, NULL
FROM json_each(:ids) AS wanted
WHERE NOT EXISTS (
    SELECT 1 FROM "messageLogs" AS known
    WHERE known."tenant" = :tenant AND known."platform" = :platform AND known."id" = wanted.value
      AND known."state" = 'logged')

-- name: find_rows
-- The rows of these ids, whatever conversation log they are in.
SELECT "id", "conversationId", "conversationLogId", "thirdPartyLogId", "userId", "state", "reason", "sentAt",
       "version", "entryHash", NULL, "createdAt", "updatedAt"
FROM "messageLogs"
WHERE "tenant" = :tenant AND "platform" = :platform AND "id" IN (SELECT value FROM json_each(:ids))

-- name: report_rows
-- What became of these ids.
SELECT known."id", known."state", known."reason", log."version"
FROM "messageLogs" AS known
JOIN "conversationLogs" AS log
  ON log."tenant" = known."tenant" AND log."platform" = known."platform"
 AND log."conversationLogId" = known."conversationLogId"
WHERE known."tenant" = :tenant AND known."platform" = :platform
  AND known."id" IN (SELECT value FROM json_each(:ids))
