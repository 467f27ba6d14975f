-- What calls used of each model, by the UTC day on which they began: reports over many calls have no time to read single uses.
CREATE TABLE daily_models (
  day TEXT COLLATE "C" NOT NULL,
  model TEXT COLLATE "C" NOT NULL,
  mark TEXT COLLATE "C" NOT NULL,
  calls BIGINT NOT NULL,
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
  estimated_nanodollars BIGINT NOT NULL,
  last_at BIGINT NOT NULL,
  PRIMARY KEY (day, model, mark)
);

INSERT INTO daily_models
SELECT to_char(to_timestamp(entries.at / 1000) AT TIME ZONE 'UTC', 'YYYY-MM-DD'), call_uses.model, call_uses.mark, COUNT(DISTINCT call_uses.entry),
       SUM(call_uses.turns), SUM(call_uses.seconds), SUM(call_uses.fresh_text), SUM(call_uses.fresh_audio),
       SUM(call_uses.fresh_image), SUM(call_uses.cached_text), SUM(call_uses.cached_audio),
       SUM(call_uses.cached_image), SUM(call_uses.output_text), SUM(call_uses.output_audio),
       SUM(call_uses.transcribed_ms), SUM(call_uses.nanodollars), SUM(call_uses.estimated_nanodollars),
       MAX(call_uses.at)
FROM call_uses JOIN entries ON entries.id = call_uses.entry GROUP BY 1, 2, 3;

-- What dashboards of others read. Every client secret and every call that was asked for with a credential, unless it failed.
CREATE VIEW realtime_token_usage AS
SELECT id, issuer, subject AS user_id, role, persona, model, kind, to_timestamp(at / 1000.0) AS created_at, at
FROM entries WHERE outcome <> 'failed' AND kind IN ('mint', 'refresh', 'call');

-- The sums of each UTC day. No role is ''. Estimated dollars are a part of the dollars.
CREATE VIEW daily_usage AS
SELECT CAST(day AS DATE) AS day, role, persona, sessions, refreshes, calls, turns AS answers, seconds,
       fresh_text + fresh_audio + fresh_image AS tokens_in,
       cached_text + cached_audio + cached_image AS tokens_cached,
       output_text + output_audio AS tokens_out,
       nanodollars / 1000000000.0 AS dollars,
       estimated_nanodollars / 1000000000.0 AS estimated_dollars
FROM daily;
