-- Tickets: single-use secrets that open calls, by their hash. Kept for an hour after they expire.
CREATE TABLE tickets (
  ticket TEXT COLLATE "C" PRIMARY KEY,
  mode TEXT NOT NULL,
  party TEXT COLLATE "C",
  issuer TEXT COLLATE "C",
  subject TEXT COLLATE "C",
  role TEXT,
  name TEXT,
  persona TEXT NOT NULL,
  language TEXT,
  origin TEXT,
  expires_at BIGINT NOT NULL,
  uses BIGINT NOT NULL,
  entry TEXT COLLATE "C"
);

CREATE INDEX tickets_party ON tickets (party);
CREATE INDEX tickets_expires_at ON tickets (expires_at);

-- How the page of a session connects.
ALTER TABLE sessions ADD COLUMN mode TEXT NOT NULL DEFAULT 'direct';
