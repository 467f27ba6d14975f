-- GPT-Live sessions that the provider has announced by webhooks. Nothing is due of one that was judged. Kept for an hour.
CREATE TABLE announcements (
  webhook TEXT COLLATE "C" PRIMARY KEY,
  session TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  received_at BIGINT NOT NULL,
  due_at BIGINT
);

CREATE INDEX announcements_due ON announcements (due_at) WHERE due_at IS NOT NULL;
