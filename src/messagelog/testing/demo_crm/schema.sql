-- Every row belongs to a tenant; numbers (n) count from 1 within it and are never given out twice.
-- Times are seconds since 1970, texts in `fields` and `chaos` are JSON objects.

CREATE TABLE IF NOT EXISTS tenant (
  id    TEXT PRIMARY KEY,
  chaos TEXT NOT NULL DEFAULT '{}'
);

-- How often something was done. Three of these also number what was made: contacts, creates, attachments.
CREATE TABLE IF NOT EXISTS tally (
  tenant TEXT NOT NULL,
  name   TEXT NOT NULL,
  n      INTEGER NOT NULL,
  PRIMARY KEY (tenant, name)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS contact (
  tenant      TEXT NOT NULL,
  n           INTEGER NOT NULL,
  name        TEXT NOT NULL,
  name_folded TEXT NOT NULL, -- what a search by name is compared with
  type        TEXT NOT NULL,
  phone       TEXT NOT NULL, -- as it was entered; empty: none
  digits      TEXT NOT NULL, -- what a search by phone is compared with
  fields      TEXT NOT NULL,
  created_at  REAL NOT NULL,
  PRIMARY KEY (tenant, n)
);
CREATE INDEX IF NOT EXISTS contact_by_digits ON contact (tenant, digits);

CREATE TABLE IF NOT EXISTS activity (
  tenant      TEXT NOT NULL,
  n           INTEGER NOT NULL,
  contact_n   INTEGER NOT NULL,
  subject     TEXT NOT NULL,
  body        TEXT NOT NULL,
  format      TEXT NOT NULL,
  fields      TEXT NOT NULL,
  external_id TEXT,
  created_by  TEXT NOT NULL,
  created_at  REAL NOT NULL,
  updated_at  REAL NOT NULL,
  PRIMARY KEY (tenant, n),
  FOREIGN KEY (tenant, contact_n) REFERENCES contact (tenant, n)
);
-- Decides which of two equal creations is the first; rows without an external id do not meet here.
CREATE UNIQUE INDEX IF NOT EXISTS activity_by_external_id ON activity (tenant, external_id);
CREATE INDEX IF NOT EXISTS activity_by_contact ON activity (tenant, contact_n);

CREATE TABLE IF NOT EXISTS file (
  tenant       TEXT NOT NULL,
  n            INTEGER NOT NULL,
  activity_n   INTEGER NOT NULL,
  file_name    TEXT NOT NULL,
  content_type TEXT NOT NULL,
  size         INTEGER NOT NULL,
  content      BLOB NOT NULL,
  PRIMARY KEY (tenant, n),
  FOREIGN KEY (tenant, activity_n) REFERENCES activity (tenant, n) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS file_by_activity ON file (tenant, activity_n);
