-- Wide columns first, so that none is padded. Codes are compared byte by byte, as elsewhere.
CREATE TABLE links (
    created bigint NOT NULL,
    updated bigint NOT NULL,
    version bigint NOT NULL,
    owner bigint NOT NULL,
    expires bigint,
    clicks_left bigint,
    status smallint NOT NULL,
    disabled boolean NOT NULL,
    forward_query boolean NOT NULL DEFAULT FALSE,
    code text COLLATE "C" PRIMARY KEY,
    target text NOT NULL,
    password text,
    title text,
    tags text -- a JSON array; NULL when it would be empty
);
CREATE INDEX links_by_age ON links (created, code);

CREATE TABLE tags (
    tag text COLLATE "C" NOT NULL,
    created bigint NOT NULL,
    code text COLLATE "C" NOT NULL,
    PRIMARY KEY (tag, created, code)
);

-- What caches catch up from. Whoever adds a row holds a lock until its transaction ends, so that
-- numbers become visible in their order.
CREATE TABLE changes (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at bigint NOT NULL,
    code text COLLATE "C" NOT NULL
);

CREATE TABLE keys (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    created bigint NOT NULL,
    revoked bigint,
    hash bytea NOT NULL UNIQUE,
    name text NOT NULL,
    scopes text NOT NULL
);

CREATE TABLE idempotency (
    owner bigint NOT NULL,
    created bigint NOT NULL,
    key text COLLATE "C" NOT NULL,
    fingerprint bytea NOT NULL,
    answer text NOT NULL,
    PRIMARY KEY (owner, key)
);
CREATE INDEX idempotency_by_age ON idempotency (created);

CREATE TABLE settings (
    name text COLLATE "C" PRIMARY KEY,
    value bytea NOT NULL
);

-- The numbers of codes: `next` is the first that no instance was given.
CREATE TABLE blocks (
    name text COLLATE "C" PRIMARY KEY,
    next bigint NOT NULL
);
INSERT INTO blocks (name, next) VALUES ('codes', 0);
