-- What calls used of each model, by the UTC day on which they began: reports over many calls have no time to read single uses.
CREATE TABLE daily_models (
  day TEXT NOT NULL,
  model TEXT NOT NULL,
  mark TEXT NOT NULL,
  calls INTEGER NOT NULL,
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
  estimated_nanodollars INTEGER NOT NULL,
  last_at INTEGER NOT NULL,
  PRIMARY KEY (day, model, mark)
) STRICT, WITHOUT ROWID;

INSERT INTO daily_models
SELECT date(entries.at / 1000, 'unixepoch'), call_uses.model, call_uses.mark, COUNT(DISTINCT call_uses.entry),
       SUM(call_uses.turns), SUM(call_uses.seconds), SUM(call_uses.fresh_text), SUM(call_uses.fresh_audio),
       SUM(call_uses.fresh_image), SUM(call_uses.cached_text), SUM(call_uses.cached_audio),
       SUM(call_uses.cached_image), SUM(call_uses.output_text), SUM(call_uses.output_audio),
       SUM(call_uses.transcribed_ms), SUM(call_uses.nanodollars), SUM(call_uses.estimated_nanodollars),
       MAX(call_uses.at)
FROM call_uses JOIN entries ON entries.id = call_uses.entry GROUP BY 1, 2, 3;

-- What dashboards of others read. Every client secret and every call that was asked for with a credential, unless it failed.
CREATE VIEW realtime_token_usage AS
SELECT id, issuer, subject AS user_id, role, persona, model, kind, datetime(at / 1000, 'unixepoch') AS created_at, at
FROM entries WHERE outcome <> 'failed' AND kind IN ('mint', 'refresh', 'call');

-- The sums of each UTC day. No role is ''. Estimated dollars are a part of the dollars.
CREATE VIEW daily_usage AS
SELECT day, role, persona, sessions, refreshes, calls, turns AS answers, seconds,
       fresh_text + fresh_audio + fresh_image AS tokens_in,
       cached_text + cached_audio + cached_image AS tokens_cached,
       output_text + output_audio AS tokens_out,
       nanodollars / 1000000000.0 AS dollars,
       estimated_nanodollars / 1000000000.0 AS estimated_dollars
FROM daily;

PRAGMA user_version = 10;
