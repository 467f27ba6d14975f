-- A million settled entries of 10,000 accounts over the span before now, in a ledger of schema 1.
BEGIN;
WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < 999999)
INSERT INTO entries
SELECT printf('%012x%020x', $now - $span + CAST(n * ($span / 1000000.0) AS INTEGER), n),
       $now - $span + CAST(n * ($span / 1000000.0) AS INTEGER), $now,
       CASE n % 4 WHEN 0 THEN 'refresh' ELSE 'mint' END,
       CASE WHEN n % 50 = 0 THEN 'failed' WHEN n % 77 = 0 THEN 'uncertain' ELSE 'minted' END, NULL,
       'https://project.example.com/auth/v1', printf('8b1f0c52-5c3a-4a7e-9a42-%012d', n * 7919 % 10000),
       (CASE n * 7919 % 10000 % 3 WHEN 0 THEN 'student' WHEN 1 THEN 'teacher' ELSE 'family' END),
       'student-es', 'gpt-realtime', '203.0.113.0/24', 'https://app.example.com', 'yQ0p7cVw3LkX2mZt',
       'req_0123456789abcdef', 'req_0123456789abcdef0123456789abcdef', 250, $now
FROM numbers;
INSERT INTO counters
SELECT strftime('%Y-%m', at / 1000, 'unixepoch'), issuer, subject, SUM(kind = 'mint' AND outcome <> 'failed')
FROM entries GROUP BY 1, 2, 3;
COMMIT;
