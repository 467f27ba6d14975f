-- One row for every use of the service: written before it happens, completed after. Texts are compared byte by byte,
-- as SQLite does.
CREATE TABLE entries (
  id TEXT COLLATE "C" PRIMARY KEY,
  at BIGINT NOT NULL,
  settled_at BIGINT,
  kind TEXT NOT NULL,
  outcome TEXT NOT NULL CHECK (outcome IN ('pending', 'minted', 'undelivered', 'failed', 'uncertain')),
  code TEXT,
  issuer TEXT COLLATE "C",
  subject TEXT COLLATE "C",
  role TEXT COLLATE "C",
  persona TEXT COLLATE "C" NOT NULL,
  model TEXT,
  network TEXT NOT NULL,
  origin TEXT,
  session TEXT NOT NULL,
  request_id TEXT NOT NULL,
  upstream_request TEXT,
  latency_ms BIGINT,
  expires_at BIGINT
);

CREATE INDEX entries_at ON entries (at);
CREATE INDEX entries_pending ON entries (at) WHERE outcome = 'pending';

-- Sessions of an account in a UTC month, '2026-11': what quotas are held against.
CREATE TABLE counters (
  month TEXT COLLATE "C" NOT NULL,
  issuer TEXT COLLATE "C" NOT NULL,
  subject TEXT COLLATE "C" NOT NULL,
  sessions BIGINT NOT NULL,
  PRIMARY KEY (month, issuer, subject)
);

-- Written to in order to see whether anything can be written.
CREATE TABLE probe (id BIGINT PRIMARY KEY, at BIGINT NOT NULL);
