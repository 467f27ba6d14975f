-- Tickets: single-use secrets that open calls, by their hash. Kept for an hour after they expire.
CREATE TABLE tickets (
  ticket TEXT PRIMARY KEY NOT NULL,
  mode TEXT NOT NULL,
  party TEXT,
  issuer TEXT,
  subject TEXT,
  role TEXT,
  name TEXT,
  persona TEXT NOT NULL,
  language TEXT,
  origin TEXT,
  expires_at INTEGER NOT NULL,
  uses INTEGER NOT NULL,
  entry TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX tickets_party ON tickets (party);
CREATE INDEX tickets_expires_at ON tickets (expires_at);

-- How the page of a session connects.
ALTER TABLE sessions ADD COLUMN mode TEXT NOT NULL DEFAULT 'direct';

PRAGMA user_version = 6;
