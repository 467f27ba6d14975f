-- Calls: whom they belong to, who watches them, and the hang-ups that are owed. Kept for an hour after their end.
CREATE TABLE calls (
  entry TEXT PRIMARY KEY NOT NULL,
  upstream TEXT,
  fingerprint TEXT,
  party TEXT NOT NULL,
  issuer TEXT,
  subject TEXT,
  persona TEXT NOT NULL,
  neighbourhood TEXT NOT NULL,
  origin TEXT,
  idempotency TEXT,
  ticket TEXT,
  state TEXT NOT NULL CHECK (state IN ('dialling', 'open', 'ending', 'ended', 'lost')),
  dialled_at INTEGER NOT NULL,
  opened_at INTEGER,
  joined_at INTEGER,
  deadline_at INTEGER NOT NULL,
  warned INTEGER NOT NULL,
  ending_at INTEGER,
  ended_at INTEGER,
  end_reason TEXT,
  hang_up_attempts INTEGER NOT NULL,
  hang_up_due INTEGER,
  replica TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX calls_live ON calls (party) WHERE state <> 'ended';
CREATE INDEX calls_upstream ON calls (upstream);
CREATE INDEX calls_party ON calls (party, idempotency);

-- How long each replica watches its calls. Nobody takes them over before.
CREATE TABLE leases (replica TEXT PRIMARY KEY NOT NULL, until INTEGER NOT NULL) STRICT, WITHOUT ROWID;

PRAGMA user_version = 5;
