-- An SQLite file as curt had it with schema 1.
CREATE TABLE links (
    short_id TEXT NOT NULL PRIMARY KEY,
    long_url TEXT NOT NULL,
    short_url TEXT NOT NULL,
    created_at TEXT NOT NULL,
    ttl INTEGER,
    hits INTEGER NOT NULL DEFAULT 0,
    analytics TEXT NOT NULL);
CREATE INDEX links_ttl ON links (ttl) WHERE ttl IS NOT NULL;
PRAGMA application_id = 0x63757274;
PRAGMA user_version = 1;
INSERT INTO links (short_id, long_url, short_url, created_at, ttl, hits, analytics) VALUES (
    'old0', 'https://example.com/old/0', 'https://example.org/t/old0',
    '2018-11-29T00:05:00', NULL, 3, '{}');
INSERT INTO links (short_id, long_url, short_url, created_at, ttl, hits, analytics) VALUES (
    'old1', 'https://example.com/old/1', 'https://example.org/t/old1',
    '2018-11-29T00:05:01', 4102444800, 0, '{}');
