-- Statements that take a list of ids: PostgreSQL takes it as an array.

-- name: look_up
-- Which of these ids are not logged; the first row is the conversation log, where there is one.
SELECT NULL::text, "contactId", "contactName", "version", "state", "thirdPartyLogId" IS NOT NULL
FROM "conversationLogs"
WHERE "tenant" = :tenant AND "platform" = :platform AND "conversationLogId" = :log
UNION ALL
SELECT wanted.id, NULL, NULL, NULL, NULL, NULL
FROM unnest(:ids::text[]) AS wanted (id)
WHERE NOT EXISTS (
    SELECT 1 FROM "messageLogs" AS known
    WHERE known."tenant" = :tenant AND known."platform" = :platform AND known."id" = wanted.id
      AND known."state" = 'logged')

-- name: find_rows
-- The rows of these ids, whatever conversation log they are in.
SELECT "id", "conversationId", "conversationLogId", "thirdPartyLogId", "userId", "state", "reason", "sentAt",
       "version", "entryHash", NULL, "createdAt", "updatedAt"
FROM "messageLogs"
WHERE "tenant" = :tenant AND "platform" = :platform AND "id" = ANY(:ids::text[])

-- name: report_rows
-- What became of these ids.
SELECT known."id", known."state", known."reason", log."version"
FROM "messageLogs" AS known
JOIN "conversationLogs" AS log
  ON log."tenant" = known."tenant" AND log."platform" = known."platform"
 AND log."conversationLogId" = known."conversationLogId"
WHERE known."tenant" = :tenant AND known."platform" = :platform AND known."id" = ANY(:ids::text[])
