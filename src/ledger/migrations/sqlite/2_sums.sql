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

CREATE TABLE daily_accounts (
  day TEXT NOT NULL,
  issuer TEXT NOT NULL,
  subject TEXT NOT NULL,
  sessions BIGINT NOT NULL,
  refreshes BIGINT NOT NULL,
  uncertain BIGINT NOT NULL,
  failed BIGINT NOT NULL,
  last_at BIGINT NOT NULL,
  PRIMARY KEY (day, issuer, subject)
) WITHOUT ROWID;

INSERT INTO daily
SELECT date(at / 1000, 'unixepoch'), COALESCE(role, ''), persona,
       SUM(kind = 'mint' AND outcome <> 'failed'), SUM(kind = 'refresh' AND outcome <> 'failed'),
       SUM(outcome = 'uncertain'), SUM(outcome = 'failed'), MAX(at)
FROM entries GROUP BY 1, 2, 3;

INSERT INTO daily_accounts
SELECT date(at / 1000, 'unixepoch'), COALESCE(issuer, ''), COALESCE(subject, ''),
       SUM(kind = 'mint' AND outcome <> 'failed'), SUM(kind = 'refresh' AND outcome <> 'failed'),
       SUM(outcome = 'uncertain'), SUM(outcome = 'failed'), MAX(at)
FROM entries GROUP BY 1, 2, 3;

PRAGMA user_version = 2;
