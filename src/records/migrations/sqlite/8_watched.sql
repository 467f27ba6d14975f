-- When each replica last renewed its lease: it watched its calls until then. NULL while an earlier version writes.
ALTER TABLE leases ADD COLUMN renewed_at INTEGER;

PRAGMA user_version = 8;
