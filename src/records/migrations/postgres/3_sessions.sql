-- Sessions that survive a restart, when the operator wants that: under a keyed hash of their id, so that nothing here opens
-- one.
CREATE TABLE sessions (
  session TEXT COLLATE "C" PRIMARY KEY,
  party TEXT COLLATE "C" NOT NULL,
  what TEXT NOT NULL,
  revision BIGINT NOT NULL,
  refreshes BIGINT NOT NULL,
  opened_at BIGINT NOT NULL,
  minted_at BIGINT NOT NULL
);
