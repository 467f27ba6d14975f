-- Alerts that were sent to operators. Of all replicas, the one that changes the row sends the message.
CREATE TABLE alerts (
  name TEXT PRIMARY KEY NOT NULL,
  is_on INTEGER NOT NULL,
  until INTEGER NOT NULL,
  told_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 9;
