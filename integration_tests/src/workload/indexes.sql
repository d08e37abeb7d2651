-- Every access method: growth, splits, deletion, what vacuum does, and builds.
SELECT setseed(:round / 100.0) \g /dev/null

INSERT INTO bt SELECT i, i % 10, repeat(md5(i::text || :round), 8), i
    FROM generate_series(:round * 4000 + 1, :round * 4000 + 4000) i;
UPDATE bt SET churn = churn + 1 WHERE id % 40 = 0;
UPDATE bt SET churn = churn + 1 WHERE id % 40 = 0;
UPDATE bt SET churn = churn + 1 WHERE id % 40 = 0;
SET enable_seqscan = off;
SELECT count(*) FROM bt WHERE churn BETWEEN :round * 4000 AND :round * 4000 + 2000 \g /dev/null
RESET enable_seqscan;
DELETE FROM bt WHERE id BETWEEN :round * 4000 + 500 AND :round * 4000 + 3000;
VACUUM bt;
INSERT INTO bt SELECT -i, i % 10, repeat(md5((-i)::text || :round), 8), i
    FROM generate_series(:round * 1000 + 1, :round * 1000 + 1000) i;

INSERT INTO hs SELECT i, md5((i % 500)::text) FROM generate_series(:round * 5000 + 1, :round * 5000 + 5000) i;
DELETE FROM hs WHERE id % 3 <> 0;
VACUUM hs;
INSERT INTO hs SELECT 42, 'same' FROM generate_series(1, 600);
DELETE FROM hs WHERE id = 42 AND random() < 0.9;
VACUUM hs;

INSERT INTO gn SELECT i, ARRAY[1, i % 7, i % 100, i], to_tsvector('simple', 'all w' || i % 5 || ' x' || i % 300 || ' y' || i)
    FROM generate_series(:round * 3000 + 1, :round * 3000 + 3000) i;
SELECT gin_clean_pending_list('gn_doc') \g /dev/null
DELETE FROM gn WHERE id % 4 <> 0;
VACUUM gn;
INSERT INTO gn SELECT i, ARRAY[1, 2], to_tsvector('simple', 'all again') FROM generate_series(1, 500) i;

INSERT INTO gs SELECT i, point(random() * 1000, random() * 1000), int4range(i % 977, i % 977 + 5),
        box(point(i % 100, i % 83), point(i % 100 + 3, i % 83 + 2))
    FROM generate_series(:round * 2500 + 1, :round * 2500 + 2500) i;
SET enable_seqscan = off;
SELECT count(*) FROM gs WHERE p <@ box '((0,0),(500,500))' \g /dev/null
RESET enable_seqscan;
DELETE FROM gs WHERE id <= :round * 2500 + 1500;
VACUUM gs;
VACUUM gs;
UPDATE gs SET p = p + point(1, 1) WHERE id % 3 = 0;

INSERT INTO sp SELECT i, 'prefix/' || (i % 13) || '/' || md5(i::text), point(random() * 100, i % 97), int4range(i % 500, i % 500 + 9)
    FROM generate_series(:round * 2500 + 1, :round * 2500 + 2500) i;
INSERT INTO sp SELECT i, repeat('same', 50), point(1, 1), 'empty' FROM generate_series(1, 300) i;
DELETE FROM sp WHERE id % 5 <> 0;
VACUUM sp;
INSERT INTO sp SELECT i, 'prefix/' || (i % 13) || '/' || md5(i::text), point(random() * 100, i % 97), NULL
    FROM generate_series(1, 800) i;
VACUUM sp;

INSERT INTO br SELECT i, 'k' || i, repeat('b', 700) FROM generate_series(:round * 700 + 1, :round * 700 + 700) i;
SELECT brin_summarize_new_values('br_n') + brin_summarize_new_values('br_t') + brin_summarize_new_values('br_bloom') \g /dev/null
UPDATE br SET n = n * 1000, t = t || repeat(md5(n::text), 3) WHERE n % 90 = 0 AND n < 1000000;
SELECT brin_desummarize_range('br_n', :round * 20) \g /dev/null
SELECT brin_desummarize_range('br_t', :round * 20) \g /dev/null
VACUUM br;

INSERT INTO bl SELECT i % 10, i % 100, i FROM generate_series(1, 1500) i;
DELETE FROM bl WHERE c % 2 = 0;
VACUUM bl;

-- Builds from full tables, on their own and while others write.
CREATE INDEX build_bt ON bt (wide, id) INCLUDE (dup);
CREATE INDEX build_hash ON bt USING hash (wide);
CREATE INDEX build_gin ON gn USING gin (tags, doc);
CREATE INDEX build_gist ON gs USING gist (p) WITH (buffering = on);
CREATE INDEX build_gist_sorted ON sp USING gist (p);
CREATE INDEX build_spgist ON sp USING spgist (t);
CREATE INDEX build_brin ON bt USING brin (id, dup) WITH (pages_per_range = 4);
CREATE INDEX build_bloom ON bt USING bloom (id, dup);
CREATE INDEX CONCURRENTLY build_conc ON heap_hot (n);
REINDEX INDEX bt_dup;
REINDEX INDEX CONCURRENTLY bt_id;
REINDEX TABLE gs;
DROP INDEX build_bt, build_hash, build_gin, build_gist, build_gist_sorted, build_spgist, build_brin, build_bloom;
DROP INDEX CONCURRENTLY build_conc;
