-- Records that ordinary work seldom writes. No other transaction of this database may be open, or nothing is dead to all.
CREATE TABLE IF NOT EXISTS rare (id int, tags int[], p point, t text);
TRUNCATE rare;
DROP INDEX IF EXISTS rare_gin, rare_gist, rare_hash, rare_spgist;

-- A posting tree of several pages, of which one in the middle is emptied and deleted.
CREATE INDEX rare_gin ON rare USING gin (tags) WITH (fastupdate = off);
INSERT INTO rare (id, tags) SELECT i, ARRAY[1] FROM generate_series(1, 40000) i;
DELETE FROM rare WHERE id BETWEEN 5000 AND 35000;
VACUUM rare;
DROP INDEX rare_gin;
TRUNCATE rare;

-- GiST: pages that become empty and are used again, and dead entries that make room.
CREATE INDEX rare_gist ON rare USING gist (p);
INSERT INTO rare (id, p) SELECT i, point(i, i) FROM generate_series(1, 6000) i;
DELETE FROM rare WHERE id BETWEEN 1000 AND 5000;
VACUUM rare;
-- A second vacuum finds that nobody can be on the deleted pages any more.
SELECT txid_current() \g /dev/null
SELECT txid_current() \g /dev/null
VACUUM rare;
INSERT INTO rare (id, p) SELECT i, point(i, -i) FROM generate_series(7000, 12000) i;
DELETE FROM rare WHERE id BETWEEN 8000 AND 8500;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SELECT count(*) FROM rare WHERE p <@ box '((7000,-13000),(13000,-7000))' \g /dev/null
INSERT INTO rare (id, p) SELECT i, point(i % 500 + 8000, -(i % 500 + 8000)) FROM generate_series(1, 1500) i;
DROP INDEX rare_gist;
TRUNCATE rare;

-- Hash: a long bucket that is squeezed over several pages, and dead entries that make room.
CREATE INDEX rare_hash ON rare USING hash (id);
INSERT INTO rare (id) SELECT 1 FROM generate_series(1, 5000);
DELETE FROM rare WHERE ctid IN (SELECT ctid FROM rare ORDER BY random() LIMIT 2800);
VACUUM rare;
INSERT INTO rare (id) SELECT 2 FROM generate_series(1, 2500);
DELETE FROM rare WHERE id = 2;
SELECT count(*) FROM rare WHERE id = 2 \g /dev/null
INSERT INTO rare (id) SELECT 2 FROM generate_series(1, 1000);
DROP INDEX rare_hash;
TRUNCATE rare;

-- SP-GiST: a root that is a leaf.
CREATE INDEX rare_spgist ON rare USING spgist (t);
INSERT INTO rare (t) SELECT 'few ' || i FROM generate_series(1, 20) i;
DELETE FROM rare WHERE t < 'few 15';
VACUUM rare;
RESET enable_seqscan;
RESET enable_bitmapscan;
