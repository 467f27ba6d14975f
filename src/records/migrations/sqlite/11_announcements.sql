-- GPT-Live sessions that the provider has announced by webhooks. Nothing is due of one that was judged. Kept for an hour.
CREATE TABLE announcements (
  webhook TEXT PRIMARY KEY NOT NULL,
  session TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  received_at INTEGER NOT NULL,
  due_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX announcements_due ON announcements (due_at) WHERE due_at IS NOT NULL;

PRAGMA user_version = 11;
