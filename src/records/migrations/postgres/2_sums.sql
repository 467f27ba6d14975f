-- What reports are made of, kept in the same transaction as the entries: by role and persona, and by account. No role,
-- issuer or subject is ''.
CREATE TABLE daily (
  day TEXT COLLATE "C" NOT NULL,
  role TEXT COLLATE "C" NOT NULL,
  persona TEXT COLLATE "C" NOT NULL,
  sessions BIGINT NOT NULL,
  refreshes BIGINT NOT NULL,
  uncertain BIGINT NOT NULL,
  failed BIGINT NOT NULL,
  last_at BIGINT NOT NULL,
  PRIMARY KEY (day, role, persona)
);

-- Accounts by number: reports over a million entries have no time to compare names.
CREATE TABLE accounts (
  account BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  issuer TEXT COLLATE "C" NOT NULL,
  subject TEXT COLLATE "C" NOT NULL,
  UNIQUE (issuer, subject)
);

CREATE TABLE daily_accounts (
  account BIGINT NOT NULL,
  day TEXT COLLATE "C" NOT NULL,
  sessions BIGINT NOT NULL,
  refreshes BIGINT NOT NULL,
  uncertain BIGINT NOT NULL,
  failed BIGINT NOT NULL,
  last_at BIGINT NOT NULL,
  PRIMARY KEY (account, day)
);

INSERT INTO daily
SELECT to_char(to_timestamp(at / 1000) AT TIME ZONE 'UTC', 'YYYY-MM-DD'), COALESCE(role, ''), persona,
       COUNT(*) FILTER (WHERE kind = 'mint' AND outcome <> 'failed'),
       COUNT(*) FILTER (WHERE kind = 'refresh' AND outcome <> 'failed'),
       COUNT(*) FILTER (WHERE outcome = 'uncertain'), COUNT(*) FILTER (WHERE outcome = 'failed'), MAX(at)
FROM entries GROUP BY 1, 2, 3;

INSERT INTO accounts (issuer, subject)
SELECT DISTINCT COALESCE(issuer, ''), COALESCE(subject, '') FROM entries;

INSERT INTO daily_accounts
SELECT account, to_char(to_timestamp(at / 1000) AT TIME ZONE 'UTC', 'YYYY-MM-DD'),
       COUNT(*) FILTER (WHERE kind = 'mint' AND outcome <> 'failed'),
       COUNT(*) FILTER (WHERE kind = 'refresh' AND outcome <> 'failed'),
       COUNT(*) FILTER (WHERE outcome = 'uncertain'), COUNT(*) FILTER (WHERE outcome = 'failed'), MAX(at)
FROM entries JOIN accounts
  ON accounts.issuer = COALESCE(entries.issuer, '') AND accounts.subject = COALESCE(entries.subject, '')
GROUP BY 1, 2;
