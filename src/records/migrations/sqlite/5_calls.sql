-- Calls: whom they belong to, who watches them, and the hang-ups that are owed. Kept for an hour after their end.
CREATE TABLE calls (
  entry TEXT PRIMARY KEY NOT NULL,
  upstream TEXT,
  fingerprint TEXT,
  party TEXT NOT NULL,
  issuer TEXT,
  subject TEXT,
  persona TEXT NOT NULL,
  neighbourhood TEXT NOT NULL,
  origin TEXT,
  idempotency TEXT,
  ticket TEXT,
  state TEXT NOT NULL CHECK (state IN ('dialling', 'open', 'ending', 'ended', 'lost')),
  dialled_at INTEGER NOT NULL,
  opened_at INTEGER,
  joined_at INTEGER,
  deadline_at INTEGER NOT NULL,
  warned INTEGER NOT NULL,
  ending_at INTEGER,
  ended_at INTEGER,
  end_reason TEXT,
  hang_up_attempts INTEGER NOT NULL,
  hang_up_due INTEGER,
  replica TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  held_seconds INTEGER NOT NULL,
  held_nanodollars INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX calls_live ON calls (party) WHERE state <> 'ended';
CREATE INDEX calls_upstream ON calls (upstream);
CREATE INDEX calls_party ON calls (party, idempotency);

-- How long each replica watches its calls. Nobody takes them over before.
CREATE TABLE leases (replica TEXT PRIMARY KEY NOT NULL, until INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- What calls used, with their entries and in the sums. Other entries have NULL.
ALTER TABLE entries ADD COLUMN turns BIGINT;
ALTER TABLE entries ADD COLUMN seconds BIGINT;
ALTER TABLE entries ADD COLUMN fresh_text BIGINT;
ALTER TABLE entries ADD COLUMN fresh_audio BIGINT;
ALTER TABLE entries ADD COLUMN fresh_image BIGINT;
ALTER TABLE entries ADD COLUMN cached_text BIGINT;
ALTER TABLE entries ADD COLUMN cached_audio BIGINT;
ALTER TABLE entries ADD COLUMN cached_image BIGINT;
ALTER TABLE entries ADD COLUMN output_text BIGINT;
ALTER TABLE entries ADD COLUMN output_audio BIGINT;
ALTER TABLE entries ADD COLUMN transcribed_ms BIGINT;
ALTER TABLE entries ADD COLUMN nanodollars BIGINT;

ALTER TABLE daily ADD COLUMN calls BIGINT NOT NULL DEFAULT 0;
ALTER TABLE daily ADD COLUMN turns BIGINT NOT NULL DEFAULT 0;
ALTER TABLE daily ADD COLUMN seconds BIGINT NOT NULL DEFAULT 0;
ALTER TABLE daily ADD COLUMN fresh_text BIGINT NOT NULL DEFAULT 0;
ALTER TABLE daily ADD COLUMN fresh_audio BIGINT NOT NULL DEFAULT 0;
ALTER TABLE daily ADD COLUMN fresh_image BIGINT NOT NULL DEFAULT 0;
ALTER TABLE daily ADD COLUMN cached_text BIGINT NOT NULL DEFAULT 0;
ALTER TABLE daily ADD COLUMN cached_audio BIGINT NOT NULL DEFAULT 0;
ALTER TABLE daily ADD COLUMN cached_image BIGINT NOT NULL DEFAULT 0;
ALTER TABLE daily ADD COLUMN output_text BIGINT NOT NULL DEFAULT 0;
ALTER TABLE daily ADD COLUMN output_audio BIGINT NOT NULL DEFAULT 0;
ALTER TABLE daily ADD COLUMN transcribed_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE daily ADD COLUMN nanodollars BIGINT NOT NULL DEFAULT 0;

ALTER TABLE daily_accounts ADD COLUMN calls BIGINT NOT NULL DEFAULT 0;
ALTER TABLE daily_accounts ADD COLUMN turns BIGINT NOT NULL DEFAULT 0;
ALTER TABLE daily_accounts ADD COLUMN seconds BIGINT NOT NULL DEFAULT 0;
ALTER TABLE daily_accounts ADD COLUMN fresh_text BIGINT NOT NULL DEFAULT 0;
ALTER TABLE daily_accounts ADD COLUMN fresh_audio BIGINT NOT NULL DEFAULT 0;
ALTER TABLE daily_accounts ADD COLUMN fresh_image BIGINT NOT NULL DEFAULT 0;
ALTER TABLE daily_accounts ADD COLUMN cached_text BIGINT NOT NULL DEFAULT 0;
ALTER TABLE daily_accounts ADD COLUMN cached_audio BIGINT NOT NULL DEFAULT 0;
ALTER TABLE daily_accounts ADD COLUMN cached_image BIGINT NOT NULL DEFAULT 0;
ALTER TABLE daily_accounts ADD COLUMN output_text BIGINT NOT NULL DEFAULT 0;
ALTER TABLE daily_accounts ADD COLUMN output_audio BIGINT NOT NULL DEFAULT 0;
ALTER TABLE daily_accounts ADD COLUMN transcribed_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE daily_accounts ADD COLUMN nanodollars BIGINT NOT NULL DEFAULT 0;

-- One row for each response and each transcription of a call: it is counted once.
CREATE TABLE call_uses (
  entry TEXT NOT NULL,
  id TEXT NOT NULL,
  at INTEGER NOT NULL,
  mark TEXT NOT NULL,
  model TEXT NOT NULL,
  turns INTEGER NOT NULL,
  seconds INTEGER NOT NULL,
  fresh_text INTEGER NOT NULL,
  fresh_audio INTEGER NOT NULL,
  fresh_image INTEGER NOT NULL,
  cached_text INTEGER NOT NULL,
  cached_audio INTEGER NOT NULL,
  cached_image INTEGER NOT NULL,
  output_text INTEGER NOT NULL,
  output_audio INTEGER NOT NULL,
  transcribed_ms INTEGER NOT NULL,
  nanodollars INTEGER NOT NULL,
  PRIMARY KEY (entry, id)
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 5;
