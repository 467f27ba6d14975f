-- Live sessions, each in the transactions that record its use, under the SHA-256 of its id. Sessions of the earlier
-- scheme end. Strict: a value of another type cannot be written by hand either.
DROP TABLE sessions;

CREATE TABLE sessions (
  session TEXT PRIMARY KEY NOT NULL,
  party TEXT NOT NULL,
  networks TEXT NOT NULL,
  persona TEXT NOT NULL,
  language TEXT,
  origin TEXT,
  entry TEXT NOT NULL,
  refreshes INTEGER NOT NULL,
  opened_at INTEGER NOT NULL,
  minted_at INTEGER NOT NULL,
  minted_before INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_party ON sessions (party, minted_at);
CREATE INDEX sessions_opened ON sessions (opened_at);

-- Secrets that all brokers of this database share. No report shows them.
CREATE TABLE secrets (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

PRAGMA user_version = 4;
