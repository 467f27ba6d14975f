-- Calls: whom they belong to, who watches them, and the hang-ups that are owed. Kept for an hour after their end.
CREATE TABLE calls (
  entry TEXT COLLATE "C" PRIMARY KEY,
  upstream TEXT COLLATE "C",
  fingerprint TEXT,
  party TEXT COLLATE "C" NOT NULL,
  issuer TEXT COLLATE "C",
  subject TEXT COLLATE "C",
  persona TEXT NOT NULL,
  neighbourhood TEXT NOT NULL,
  origin TEXT,
  idempotency TEXT COLLATE "C",
  ticket TEXT,
  state TEXT NOT NULL CHECK (state IN ('dialling', 'open', 'ending', 'ended', 'lost')),
  dialled_at BIGINT NOT NULL,
  opened_at BIGINT,
  joined_at BIGINT,
  deadline_at BIGINT NOT NULL,
  warned BIGINT NOT NULL,
  ending_at BIGINT,
  ended_at BIGINT,
  end_reason TEXT,
  hang_up_attempts BIGINT NOT NULL,
  hang_up_due BIGINT,
  replica TEXT COLLATE "C" NOT NULL,
  epoch BIGINT NOT NULL,
  revision BIGINT NOT NULL,
  held_seconds BIGINT NOT NULL,
  held_nanodollars BIGINT NOT NULL
);

CREATE INDEX calls_live ON calls (party) WHERE state <> 'ended';
CREATE INDEX calls_upstream ON calls (upstream);
CREATE INDEX calls_party ON calls (party, idempotency);

-- How long each replica watches its calls. Nobody takes them over before.
CREATE TABLE leases (replica TEXT COLLATE "C" PRIMARY KEY, until BIGINT NOT NULL);

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
  entry TEXT COLLATE "C" NOT NULL,
  id TEXT COLLATE "C" NOT NULL,
  at BIGINT NOT NULL,
  mark TEXT NOT NULL,
  model TEXT NOT NULL,
  turns BIGINT NOT NULL,
  seconds BIGINT NOT NULL,
  fresh_text BIGINT NOT NULL,
  fresh_audio BIGINT NOT NULL,
  fresh_image BIGINT NOT NULL,
  cached_text BIGINT NOT NULL,
  cached_audio BIGINT NOT NULL,
  cached_image BIGINT NOT NULL,
  output_text BIGINT NOT NULL,
  output_audio BIGINT NOT NULL,
  transcribed_ms BIGINT NOT NULL,
  nanodollars BIGINT NOT NULL,
  PRIMARY KEY (entry, id)
);
