-- The heap: HOT chains and pruning, TOAST, aborted work, subtransactions, COPY, freezing, truncation of tails.
SELECT setseed(:round / 100.0) \g /dev/null

INSERT INTO heap_hot SELECT i, 0, repeat('h', 80) FROM generate_series(:round * 10000 + 1, :round * 10000 + 1500) i;
UPDATE heap_hot SET n = n + 1 WHERE id % 2 = 0;
UPDATE heap_hot SET n = n + 1 WHERE id % 3 = 0;
SELECT count(*) FROM heap_hot \g /dev/null
UPDATE heap_hot SET n = n + 1 WHERE id % 2 = 0;
UPDATE heap_hot SET id = id + 5000 WHERE id % 10000 BETWEEN 1 AND 200;
DELETE FROM heap_hot WHERE id % 7 = 0;
SELECT sum(n) FROM heap_hot \g /dev/null
INSERT INTO heap_hot VALUES (-:round, 1, 'x') ON CONFLICT (id) DO UPDATE SET n = heap_hot.n + 1;
INSERT INTO heap_hot VALUES (-:round, 1, 'x') ON CONFLICT (id) DO UPDATE SET n = heap_hot.n + 1;

INSERT INTO heap_toast (round, doc)
    SELECT :round, (SELECT string_agg(md5(random()::text || i || j), '') FROM generate_series(1, 150) j) FROM generate_series(1, 60) i;
UPDATE heap_toast SET doc = doc || 'more' WHERE id % 3 = 0;
UPDATE heap_toast SET round = -1 WHERE id % 5 = 0;
DELETE FROM heap_toast WHERE id % 4 = 1;

BEGIN;
INSERT INTO heap_hot SELECT i, 0, 'never' FROM generate_series(-100000, -99000) i;
UPDATE heap_hot SET n = -1 WHERE id % 5 = 0;
ROLLBACK;

BEGIN;
INSERT INTO heap_sub VALUES (:round, 'kept');
SAVEPOINT a;
INSERT INTO heap_sub VALUES (:round, 'lost');
SAVEPOINT b;
DELETE FROM heap_sub WHERE note = 'kept';
ROLLBACK TO a;
INSERT INTO heap_sub VALUES (:round, 'kept too');
RELEASE a;
COMMIT;

-- More subtransactions than a backend keeps in shared memory (64); every third fails.
DO $$
BEGIN
    FOR i IN 1..200 LOOP
        BEGIN
            INSERT INTO heap_sub VALUES (i, 'sub');
            IF i % 3 = 0 THEN
                RAISE EXCEPTION 'undone';
            END IF;
        EXCEPTION WHEN raise_exception THEN
            NULL;
        END;
    END LOOP;
END $$;

COPY heap_sub (n) FROM PROGRAM 'seq 1 3000';
DROP TABLE IF EXISTS frozen;
BEGIN;
CREATE TABLE frozen (n int);
COPY frozen FROM PROGRAM 'seq 1 4000' WITH (FREEZE);
COMMIT;
DELETE FROM frozen WHERE n BETWEEN 1 AND 10;

INSERT INTO heap_tail SELECT i, repeat('t', 200) FROM generate_series(1, 3000) i;
DELETE FROM heap_tail WHERE n > 100;
VACUUM heap_tail;
VACUUM heap_hot;
VACUUM (FREEZE) heap_sub;
VACUUM (FREEZE, DISABLE_PAGE_SKIPPING) heap_toast;
UPDATE heap_sub SET note = 'thawed' WHERE n % 50 = 0;
