-- The part of the money that was reckoned, because nobody measured it.
ALTER TABLE entries ADD COLUMN estimated_nanodollars BIGINT;
ALTER TABLE daily ADD COLUMN estimated_nanodollars BIGINT NOT NULL DEFAULT 0;
ALTER TABLE daily_accounts ADD COLUMN estimated_nanodollars BIGINT NOT NULL DEFAULT 0;
ALTER TABLE call_uses ADD COLUMN estimated_nanodollars INTEGER NOT NULL DEFAULT 0;

PRAGMA user_version = 7;
