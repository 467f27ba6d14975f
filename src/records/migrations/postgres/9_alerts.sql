-- Alerts that operators were told of: of all replicas, the one that changes the row tells them.
CREATE TABLE alerts (
  name TEXT COLLATE "C" PRIMARY KEY,
  is_on BIGINT NOT NULL,
  until BIGINT NOT NULL,
  told_at BIGINT NOT NULL
);
