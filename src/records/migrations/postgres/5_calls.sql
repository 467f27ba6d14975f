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
  revision BIGINT NOT NULL
);

CREATE INDEX calls_live ON calls (party) WHERE state <> 'ended';
CREATE INDEX calls_upstream ON calls (upstream);
CREATE INDEX calls_party ON calls (party, idempotency);

-- How long each replica watches its calls. Nobody takes them over before.
CREATE TABLE leases (replica TEXT COLLATE "C" PRIMARY KEY, until BIGINT NOT NULL);
