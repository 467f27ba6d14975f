-- One row for every use of the service: written before it happens, completed after.
CREATE TABLE entries (
  id TEXT PRIMARY KEY NOT NULL,
  at BIGINT NOT NULL,
  settled_at BIGINT,
  kind TEXT NOT NULL,
  outcome TEXT NOT NULL CHECK (outcome IN ('pending', 'minted', 'undelivered', 'failed', 'uncertain')),
  code TEXT,
  issuer TEXT,
  subject TEXT,
  role TEXT,
  persona TEXT NOT NULL,
  model TEXT,
  network TEXT NOT NULL,
  origin TEXT,
  session TEXT NOT NULL,
  request_id TEXT NOT NULL,
  upstream_request TEXT,
  latency_ms BIGINT,
  expires_at BIGINT
) WITHOUT ROWID;

CREATE INDEX entries_at ON entries (at);
CREATE INDEX entries_pending ON entries (at) WHERE outcome = 'pending';

-- Sessions of an account in a UTC month, '2026-11': what quotas are held against.
CREATE TABLE counters (
  month TEXT NOT NULL,
  issuer TEXT NOT NULL,
  subject TEXT NOT NULL,
  sessions BIGINT NOT NULL,
  PRIMARY KEY (month, issuer, subject)
) WITHOUT ROWID;

-- Written to in order to see whether anything can be written.
CREATE TABLE probe (id BIGINT PRIMARY KEY NOT NULL, at BIGINT NOT NULL);

PRAGMA application_id = 0x5254424c;
PRAGMA user_version = 1;
