-- Live sessions, each in the transactions that record its use, under the SHA-256 of its id. Sessions of the earlier
-- scheme end.
DROP TABLE sessions;

CREATE TABLE sessions (
  session TEXT COLLATE "C" PRIMARY KEY,
  party TEXT COLLATE "C" NOT NULL,
  networks TEXT NOT NULL,
  persona TEXT NOT NULL,
  language TEXT,
  origin TEXT,
  entry TEXT NOT NULL,
  refreshes BIGINT NOT NULL,
  opened_at BIGINT NOT NULL,
  minted_at BIGINT NOT NULL,
  minted_before BIGINT NOT NULL
);

CREATE INDEX sessions_party ON sessions (party, minted_at);
CREATE INDEX sessions_opened ON sessions (opened_at);

-- Secrets that all brokers of this database share. No report shows them.
CREATE TABLE secrets (name TEXT COLLATE "C" PRIMARY KEY, value TEXT NOT NULL);
