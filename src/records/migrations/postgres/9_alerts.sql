-- Alerts that were sent to operators. Of all replicas, the one that changes the row sends the message.
CREATE TABLE alerts (
  name TEXT COLLATE "C" PRIMARY KEY,
  is_on BIGINT NOT NULL,
  until BIGINT NOT NULL,
  told_at BIGINT NOT NULL
);
