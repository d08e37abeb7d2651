-- What wal_level = logical adds: old rows, command ids of catalog rows, and the mappings of rewritten catalogs.
SELECT pg_create_logical_replication_slot('decoder', 'pgoutput') \g /dev/null
CREATE TABLE replicated (id int PRIMARY KEY, t text);
ALTER TABLE replicated REPLICA IDENTITY FULL;
INSERT INTO replicated SELECT i, repeat(md5(i::text), 3) FROM generate_series(1, 1000) i;
UPDATE replicated SET t = 'short' WHERE id % 3 = 0;
DELETE FROM replicated WHERE id % 4 = 0;
ALTER TABLE replicated REPLICA IDENTITY DEFAULT;
UPDATE replicated SET id = id + 100000 WHERE id % 5 = 0;
DELETE FROM replicated WHERE id % 7 = 0;
TRUNCATE burnt;
INSERT INTO burnt SELECT generate_series(1, 100);
ALTER TABLE replicated ADD COLUMN more int DEFAULT 5;
COMMENT ON TABLE replicated IS 'first';
COMMENT ON TABLE replicated IS 'second';
VACUUM FULL pg_class;
VACUUM FULL pg_attribute;
SELECT pg_drop_replication_slot('decoder') \g /dev/null
