-- Compressed TOAST, and tables and sequences between logged and unlogged.
DROP TABLE IF EXISTS toasted, switching;
DROP SEQUENCE IF EXISTS switching_seq;
CREATE TABLE toasted (id int PRIMARY KEY, doc text);
INSERT INTO toasted SELECT i, (SELECT string_agg(md5((i * j)::text) || repeat('z', 40), '') FROM generate_series(1, 120) j)
    FROM generate_series(1, 60) i;
UPDATE toasted SET doc = doc || 'more' WHERE id % 4 = 0;
DELETE FROM toasted WHERE id % 3 = 0;
VACUUM toasted;

CREATE TABLE switching (id int PRIMARY KEY, tags int[], t text, serial serial);
CREATE INDEX switching_gin ON switching USING gin (tags);
CREATE INDEX switching_hash ON switching USING hash (t);
CREATE INDEX switching_brin ON switching USING brin (id);
INSERT INTO switching SELECT i, ARRAY[i, i % 7], md5(i::text) FROM generate_series(1, 1500) i;
ALTER TABLE switching SET UNLOGGED;
INSERT INTO switching SELECT i, ARRAY[i, i % 7], md5(i::text) FROM generate_series(1501, 2000) i;
ALTER TABLE switching SET LOGGED;
UPDATE switching SET t = 'changed' WHERE id % 9 = 0;
ALTER TABLE switching SET UNLOGGED;
TRUNCATE switching;
ALTER TABLE switching SET LOGGED;
INSERT INTO switching SELECT i, ARRAY[i, i % 7], md5(i::text) FROM generate_series(1, 500) i;

CREATE UNLOGGED SEQUENCE switching_seq;
SELECT count(nextval('switching_seq')) FROM generate_series(1, 50) \g /dev/null
ALTER SEQUENCE switching_seq SET LOGGED;
SELECT count(nextval('switching_seq')) FROM generate_series(1, 50) \g /dev/null
ALTER SEQUENCE switching_seq SET UNLOGGED;
