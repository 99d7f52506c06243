-- name: find_tenant
-- The tenant of a name that the CRM at this host says.
SELECT "tenant" FROM "tenants" WHERE "crmTenant" = :crm_tenant AND "platform" = :platform AND "host" = :host

-- name: lock_tenant
-- As above. A sign-in and a move of the tenant wait for each other.
SELECT "tenant"
FROM "tenants"
WHERE "crmTenant" = :crm_tenant AND "platform" = :platform AND "host" = :host
{lock}

-- name: hostnames_of_tenant
-- What users typed as the host of a CRM of this name, as far as it is unknown which host it stands for.
SELECT "host", "tenant"
FROM "tenants"
WHERE "crmTenant" = :crm_tenant AND "platform" = :platform AND "host" NOT LIKE '%://%'
ORDER BY "host"

-- name: tenant_taken
-- Whether another one has this tenant's name: another host, or where there is none another name at the CRM.
SELECT 1
FROM "tenants"
WHERE "tenant" = :tenant AND "platform" = :platform
  AND (CAST(:host AS text) <> '' OR "crmTenant" <> :crm_tenant)
LIMIT 1

-- name: add_tenant
INSERT INTO "tenants" ("crmTenant", "platform", "host", "tenant", "createdAt")
VALUES (:crm_tenant, :platform, :host, :tenant, {now})
ON CONFLICT ("crmTenant", "platform", "host") DO NOTHING

-- name: drop_hostname
DELETE FROM "tenants" WHERE "crmTenant" = :crm_tenant AND "platform" = :platform AND "host" = :host
RETURNING "tenant"

-- name: hosts_of_tenant
-- The hosts of a tenant, and what the CRM calls it. The rows are locked against sign-ins.
SELECT "host", "crmTenant"
FROM "tenants"
WHERE "tenant" = :tenant AND "platform" = :platform
ORDER BY "crmTenant", "host"
{lock}

-- name: drop_hosts_of_tenant
DELETE FROM "tenants" WHERE "tenant" = :tenant AND "platform" = :platform

-- name: move_users
-- Where the users of a tenant are called from now on.
UPDATE "users"
SET "hostname" = :hostname, "updatedAt" = {now}
WHERE "tenant" = :tenant AND "platform" = :platform AND "hostname" <> :hostname
RETURNING "id"

-- name: drop_tenants_of_tenant
DELETE FROM "tenants" WHERE "tenant" = :tenant AND (CAST(:platform AS text) IS NULL OR "platform" = :platform)

-- name: list_tenants
-- Tenants and their hosts in the order of their names, behind one of them, for people.
SELECT "tenant", "platform", "host", "crmTenant", "createdAt"
FROM "tenants"
WHERE ("tenant", "platform", "crmTenant", "host") > (:after_tenant, :after_platform, :after_crm_tenant, :after_host)
  AND (CAST(:tenant AS text) IS NULL OR "tenant" = :tenant)
  AND (CAST(:platform AS text) IS NULL OR "platform" = :platform)
ORDER BY "tenant", "platform", "crmTenant", "host"
LIMIT :limit
