CREATE TABLE t (id int PRIMARY KEY, k int, v text, arr int[], p point, b box, r int4range) WITH (fillfactor = 80);

CREATE INDEX t_k ON t (k);

CREATE INDEX t_hash ON t USING hash (k);

CREATE INDEX t_gin ON t USING gin (arr) WITH (fastupdate = on, gin_pending_list_limit = 64);

CREATE INDEX t_gin_slow ON t USING gin (arr) WITH (fastupdate = off);

CREATE INDEX t_gist ON t USING gist (b);

CREATE INDEX t_gist_range ON t USING gist (r);

CREATE INDEX t_quad ON t USING spgist (p);

CREATE INDEX t_kd ON t USING spgist (p kd_point_ops);

CREATE INDEX t_radix ON t USING spgist (v text_ops);

CREATE INDEX t_brin ON t USING brin (id, k) WITH (pages_per_range = 2, autosummarize = off);

CREATE SEQUENCE s CACHE 1;

INSERT INTO t SELECT i, i % 97, 'row ' || md5(i::text) || repeat('x', i % 50), ARRAY[i % 7, i % 31, i], point(i % 100, i / 100), box(point(i % 61, i % 67), point(i % 61 + 3, i % 67 + 2)), int4range(i, i + i % 40) FROM generate_series(1, 1500) i;

SELECT count(nextval('s')) FROM generate_series(1, 200);

CHECKPOINT;

UPDATE t SET v = v || '!' WHERE id % 5 = 0;

UPDATE t SET k = k + 1, arr = arr || id, p = point(id % 83, k) WHERE id % 7 = 0;

SELECT brin_summarize_new_values('t_brin');

SELECT count(*) FROM (SELECT 1 FROM t WHERE id % 3 = 0 FOR UPDATE) x;

SELECT count(*) FROM (SELECT 1 FROM t WHERE id % 11 = 0 FOR SHARE) x;

DELETE FROM t WHERE id % 4 = 1;

VACUUM t;

INSERT INTO t SELECT i, i % 13, repeat('prefix', i % 9) || md5(i::text), ARRAY[i % 7, i % 3], point(i % 10, i % 11), box(point(i % 5, i), point(i % 5 + 9, i + 9)), int4range(i, i + 5) FROM generate_series(1501, 2200) i;

INSERT INTO t (id, k) SELECT i, 1 FROM generate_series(2150, 2300) i ON CONFLICT (id) DO UPDATE SET k = t.k + 1000;

UPDATE t SET k = -k;

DELETE FROM t WHERE id BETWEEN 500 AND 1200;

SELECT brin_desummarize_range('t_brin', 0);

SELECT gin_clean_pending_list('t_gin');

VACUUM (FREEZE, INDEX_CLEANUP on) t;

SELECT count(*) FROM t WHERE k < 0;

UPDATE t SET v = 'updated ' || id WHERE id < 500;

UPDATE t SET v = v || '.' WHERE id < 300;

SELECT count(*) FROM t WHERE id < 500;

UPDATE t SET k = id WHERE id < 200;

DELETE FROM t WHERE id > 1300;

VACUUM (INDEX_CLEANUP on) t;

CREATE TABLE big (id int, body text);

ALTER TABLE big ALTER body SET STORAGE external;

INSERT INTO big SELECT i, repeat(md5(i::text), 300) FROM generate_series(1, 40) i;

UPDATE big SET body = body || 'tail' WHERE id % 2 = 0;

DELETE FROM big WHERE id % 3 = 0;

VACUUM big;

CREATE TABLE c AS SELECT i AS id, i % 10 AS g, 'copied ' || i AS v FROM generate_series(1, 1000) i;

COPY c TO PROGRAM 'cat > copied';

COPY c FROM PROGRAM 'cat copied';

DELETE FROM c a USING c b WHERE a.id = b.id AND a.ctid > b.ctid;

ANALYZE;

CREATE TABLE parts (id int, at date) PARTITION BY RANGE (id);

CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (1000);

INSERT INTO parts SELECT i, date '2020-01-01' + i FROM generate_series(0, 999) i;

CREATE UNIQUE INDEX c_id ON c (id);

CLUSTER c USING c_id;

TRUNCATE big;

INSERT INTO big SELECT i, 'after truncation' FROM generate_series(1, 100) i;

REINDEX TABLE t;

VACUUM FULL c;

DROP TABLE parts;

BEGIN;

INSERT INTO c SELECT i, 0, 'rolled back' FROM generate_series(5000, 5200) i;

SAVEPOINT a;

UPDATE c SET g = 11 WHERE id < 100;

ROLLBACK TO a;

DELETE FROM c WHERE id < 50;

COMMIT;

BEGIN;

SELECT count(*) FROM (SELECT 1 FROM c WHERE id BETWEEN 400 AND 420 FOR SHARE) x;

SAVEPOINT b;

UPDATE c SET g = 13 WHERE id BETWEEN 400 AND 410;

SELECT count(*) FROM (SELECT 1 FROM c WHERE id BETWEEN 411 AND 420 FOR UPDATE) x;

COMMIT;

VACUUM c;

CHECKPOINT;

UPDATE c SET g = 12 WHERE id BETWEEN 100 AND 300;

INSERT INTO t (id, k, arr) SELECT i, 5, ARRAY[1, 2, 3] FROM generate_series(6000, 7000) i;

VACUUM t;

SET wal_consistency_checking = 'gin';

CREATE TABLE g WITH (autovacuum_enabled = off) AS SELECT i AS id, ARRAY[-1] AS a FROM generate_series(1, 17000) i;

CREATE INDEX g_a ON g USING gin (a);

DELETE FROM g WHERE id BETWEEN 7000 AND 15600;

VACUUM (INDEX_CLEANUP on) g;

SET wal_consistency_checking = '';

INSERT INTO g SELECT i, ARRAY[-1, 1] FROM generate_series(1, 8000) i;

SET wal_consistency_checking = 'gin';

SELECT gin_clean_pending_list('g_a');

ALTER INDEX g_a SET (fastupdate = off);

INSERT INTO g SELECT i, ARRAY[-1, i % 2] FROM generate_series(1, 300) i;

DELETE FROM g WHERE id < 1000 AND id % 3 = 1;

VACUUM (INDEX_CLEANUP on) g;

SET wal_consistency_checking = 'all';

DROP TABLE g;

SET wal_consistency_checking = 'hash';

CREATE TABLE h WITH (autovacuum_enabled = off) AS SELECT i AS id, 7 AS k FROM generate_series(1, 2500) i;

SET wal_consistency_checking = '';

CREATE INDEX h_k ON h USING hash (k);

DELETE FROM h WHERE id <= 100 OR id BETWEEN 408 AND 607 OR id BETWEEN 815 AND 1114 OR id BETWEEN 1629 AND 2035 OR id > 2442;

SET wal_consistency_checking = 'hash';

VACUUM (INDEX_CLEANUP on) h;

DELETE FROM h WHERE id BETWEEN 101 AND 160;

SET enable_seqscan = off;

SET enable_bitmapscan = off;

SELECT count(*) FROM h WHERE k = 7;

INSERT INTO h SELECT i, 7 FROM generate_series(1, 700) i;

DELETE FROM h WHERE id BETWEEN 1300 AND 1310;

SELECT count(*) FROM h WHERE k = 7;

VACUUM (INDEX_CLEANUP on) h;

RESET enable_seqscan;

RESET enable_bitmapscan;

SET wal_consistency_checking = 'all';

DROP TABLE h;

CREATE TABLE long_keys (a text[]);

CREATE INDEX long_keys_a ON long_keys USING gin (a) WITH (fastupdate = off);

INSERT INTO long_keys SELECT ARRAY[(SELECT string_agg(md5(i::text || j), '') FROM generate_series(1, 55) j)] FROM generate_series(1, 50) i;

CREATE TABLE m (k text);

ALTER TABLE m ALTER k SET STORAGE external;

CREATE INDEX m_k ON m (k);

INSERT INTO m SELECT repeat('m', 1000) || lpad(i::text, 5, '0') FROM generate_series(1, 600) i;

DELETE FROM m WHERE right(k, 5)::int < 598;

VACUUM (INDEX_CLEANUP on) m;

VACUUM (INDEX_CLEANUP on) m;

INSERT INTO m SELECT repeat('m', 1000) || lpad(i::text, 5, '0') FROM generate_series(600, 900) i;

CREATE TABLE dead_boxes (p point) WITH (autovacuum_enabled = off);

CREATE INDEX dead_boxes_p ON dead_boxes USING gist (p);

INSERT INTO dead_boxes SELECT point(i % 40, i / 40) FROM generate_series(1, 1200) i;

DELETE FROM dead_boxes WHERE p[0] < 20;

SET enable_seqscan = off;

SET enable_bitmapscan = off;

SELECT count(*) FROM dead_boxes WHERE p <@ box '(40,40),(0,0)';

RESET enable_seqscan;

RESET enable_bitmapscan;

INSERT INTO dead_boxes SELECT point(i % 40, i / 40) FROM generate_series(1, 1200) i;

DROP TABLE dead_boxes;

CREATE TABLE ranges (v text) WITH (fillfactor = 10, autovacuum_enabled = off);

CREATE INDEX ranges_v ON ranges USING brin (v) WITH (pages_per_range = 1);

INSERT INTO ranges SELECT chr(96 + i % 26) FROM generate_series(1, 3000) i;

SELECT brin_summarize_new_values('ranges_v');

UPDATE ranges SET v = 'z' || (SELECT string_agg(md5(v || i), '') FROM generate_series(1, 40) i) WHERE ctid::text LIKE '(%,1)';

DROP TABLE ranges;
