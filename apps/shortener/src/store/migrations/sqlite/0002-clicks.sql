-- Clicks themselves are in tables named by time (`clicks_minute_20260131`, `clicks_hour_202601`,
-- `clicks_day_2026`), which are made ahead and dropped when they are over.

-- What hashes of visitors are made with; each is deleted two days later.
CREATE TABLE salts (
    day INTEGER PRIMARY KEY,
    salt BLOB NOT NULL
) STRICT;

-- Clicks that were brought together and are counted, so that they are not counted again.
CREATE TABLE batches (
    id TEXT PRIMARY KEY,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX batches_by_age ON batches (until);
