-- Clicks of a minute, an hour and a day. The time comes first in the keys: what is written is
-- together, at the end. Partitions are made ahead, and dropped when they are over.
CREATE TABLE clicks_minute (
    at bigint NOT NULL,
    clicks bigint NOT NULL,
    bots bigint NOT NULL,
    code text COLLATE "C" NOT NULL, -- empty: all links
    PRIMARY KEY (at, code)
) PARTITION BY RANGE (at);

CREATE TABLE clicks_hour (
    at bigint NOT NULL,
    clicks bigint NOT NULL,
    bots bigint NOT NULL,
    code text COLLATE "C" NOT NULL,
    PRIMARY KEY (at, code)
) PARTITION BY RANGE (at);

CREATE TABLE clicks_day (
    at bigint NOT NULL,
    clicks bigint NOT NULL,
    bots bigint NOT NULL,
    code text COLLATE "C" NOT NULL,
    detail bytea NOT NULL, -- by referrer, country, device, browser and bot, and visitors
    PRIMARY KEY (at, code)
) PARTITION BY RANGE (at);
-- Sketches of visitors are as good as random: to compress them takes time and nothing else.
ALTER TABLE clicks_day ALTER COLUMN detail SET STORAGE EXTERNAL;

-- What hashes of visitors are made with; each is deleted two days later.
CREATE TABLE salts (
    day bigint PRIMARY KEY,
    salt bytea NOT NULL
);

-- Clicks that were brought together and are counted, so that they are not counted again.
CREATE TABLE batches (
    until bigint NOT NULL,
    id text COLLATE "C" PRIMARY KEY
);
CREATE INDEX batches_by_age ON batches (until);
