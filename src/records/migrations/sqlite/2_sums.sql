-- What reports are made of, kept in the same transaction as the entries: by role and persona, and by account. No role,
-- issuer or subject is ''.
CREATE TABLE daily (
  day TEXT NOT NULL,
  role TEXT NOT NULL,
  persona TEXT NOT NULL,
  sessions BIGINT NOT NULL,
  refreshes BIGINT NOT NULL,
  uncertain BIGINT NOT NULL,
  failed BIGINT NOT NULL,
  last_at BIGINT NOT NULL,
  PRIMARY KEY (day, role, persona)
) WITHOUT ROWID;

-- Accounts by number: reports over a million entries have no time to compare names.
CREATE TABLE accounts (
  account INTEGER PRIMARY KEY,
  issuer TEXT NOT NULL,
  subject TEXT NOT NULL,
  UNIQUE (issuer, subject)
);

CREATE TABLE daily_accounts (
  account BIGINT NOT NULL,
  day TEXT NOT NULL,
  sessions BIGINT NOT NULL,
  refreshes BIGINT NOT NULL,
  uncertain BIGINT NOT NULL,
  failed BIGINT NOT NULL,
  last_at BIGINT NOT NULL,
  PRIMARY KEY (account, day)
) WITHOUT ROWID;

INSERT INTO daily
SELECT date(at / 1000, 'unixepoch'), COALESCE(role, ''), persona,
       SUM(kind = 'mint' AND outcome <> 'failed'), SUM(kind = 'refresh' AND outcome <> 'failed'),
       SUM(outcome = 'uncertain'), SUM(outcome = 'failed'), MAX(at)
FROM entries GROUP BY 1, 2, 3;

INSERT INTO accounts (issuer, subject)
SELECT DISTINCT COALESCE(issuer, ''), COALESCE(subject, '') FROM entries;

INSERT INTO daily_accounts
SELECT account, date(at / 1000, 'unixepoch'),
       SUM(kind = 'mint' AND outcome <> 'failed'), SUM(kind = 'refresh' AND outcome <> 'failed'),
       SUM(outcome = 'uncertain'), SUM(outcome = 'failed'), MAX(at)
FROM entries JOIN accounts
  ON accounts.issuer = COALESCE(entries.issuer, '') AND accounts.subject = COALESCE(entries.subject, '')
GROUP BY 1, 2;

PRAGMA user_version = 2;
