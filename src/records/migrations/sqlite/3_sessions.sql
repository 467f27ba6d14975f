-- Sessions that survive a restart, when the operator wants that: under a keyed hash of their id, so that nothing here opens
-- one. Strict: what is no number or text cannot be put here by hand either.
CREATE TABLE sessions (
  session TEXT PRIMARY KEY NOT NULL,
  party TEXT NOT NULL,
  what TEXT NOT NULL,
  revision INTEGER NOT NULL,
  refreshes INTEGER NOT NULL,
  opened_at INTEGER NOT NULL,
  minted_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 3;
