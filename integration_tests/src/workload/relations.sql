-- What makes, rewrites, moves and removes whole relations.
SELECT setseed(:round / 100.0) \g /dev/null

SELECT count(nextval('seq_plain') + nextval('seq_cycle')) FROM generate_series(1, 100) \g /dev/null
SELECT nextval('seq_cached') \g /dev/null
ALTER SEQUENCE seq_plain RESTART WITH :round INCREMENT BY 3;
SELECT setval('seq_cached', :round * 1000) \g /dev/null

INSERT INTO part SELECT i, i % 250, md5(i::text) FROM generate_series(1, 1500) i;
UPDATE part SET day = day + 60 WHERE id % 9 = 0;
TRUNCATE part_2a;
CREATE TABLE part_new_:round (LIKE part);
ALTER TABLE part ATTACH PARTITION part_new_:round FOR VALUES FROM (1000 * :round) TO (1000 * :round + 10);

REFRESH MATERIALIZED VIEW totals;
UPDATE bt SET dup = dup + 1 WHERE id % 77 = 0;
REFRESH MATERIALIZED VIEW CONCURRENTLY totals;

SELECT lo_from_bytea(:round * 10, decode(repeat('0badcafe', 6000), 'hex')) \g /dev/null
SELECT lo_put(:round * 10, 3000, 'changed') \g /dev/null
SELECT lo_from_bytea(:round * 10 + 1, 'short') \g /dev/null
SELECT lo_unlink(:round * 10 + 1) \g /dev/null

CREATE TEMP TABLE passing (n int PRIMARY KEY, t text);
INSERT INTO passing SELECT i, md5(i::text) FROM generate_series(1, 2000) i;
DROP TABLE passing;

INSERT INTO un SELECT i, ARRAY[i, i % 5], point(i, -i), 'u' || i FROM generate_series(1, 500) i;
TRUNCATE un;
CREATE UNLOGGED TABLE un_:round (n int PRIMARY KEY);
INSERT INTO un_:round SELECT generate_series(1, 500);
ALTER TABLE un_:round SET LOGGED;
ALTER TABLE frozen SET UNLOGGED;

INSERT INTO fat SELECT i, repeat(md5(i::text), 5) FROM generate_series(1, 2000) i;
CREATE INDEX IF NOT EXISTS fat_id ON fat (id);
DELETE FROM fat WHERE id % 3 = 0;
CLUSTER fat USING fat_id;
DELETE FROM fat WHERE id % 5 = 0;
VACUUM FULL fat;
ALTER TABLE fat ALTER COLUMN id TYPE bigint;
ALTER TABLE fat ALTER COLUMN id TYPE int;
ALTER TABLE fat ADD COLUMN extra_:round int DEFAULT :round;
ANALYZE fat;
BEGIN;
TRUNCATE fat;
INSERT INTO fat (id, t) SELECT i, 'after truncation' FROM generate_series(1, 100) i;
ROLLBACK;
TRUNCATE heap_tail RESTART IDENTITY;

BEGIN;
CREATE TABLE never (n int PRIMARY KEY, t text);
INSERT INTO never SELECT i, md5(i::text) FROM generate_series(1, 1000) i;
ROLLBACK;
-- A relation made and dropped in the same transaction, and one made and truncated in it (no WAL for its contents under wal_level = minimal only).
BEGIN;
CREATE TABLE brief (n int);
INSERT INTO brief SELECT generate_series(1, 1000);
TRUNCATE brief;
INSERT INTO brief SELECT generate_series(1, 100);
DROP TABLE brief;
COMMIT;

SELECT set_config('workload.round', :'round', false) \g /dev/null
DO $$
BEGIN
    FOR i IN 1..60 LOOP
        EXECUTE format('CREATE TABLE many_%s_%s (id int PRIMARY KEY, t text)', current_setting('workload.round'), i);
        EXECUTE format('INSERT INTO many_%s_%s VALUES (1, %L)', current_setting('workload.round'), i, 'x');
        IF i % 2 = 0 THEN
            EXECUTE format('DROP TABLE many_%s_%s', current_setting('workload.round'), i);
        END IF;
    END LOOP;
END $$;

SELECT pg_logical_emit_message(true, 'workload', repeat('m', 20000)) \g /dev/null
SELECT pg_logical_emit_message(false, 'workload', 'not in a transaction') \g /dev/null
SELECT pg_create_restore_point('round ' || :round) \g /dev/null
SELECT pg_switch_wal() \g /dev/null
