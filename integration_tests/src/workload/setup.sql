-- What every round works on. Made once, before the rounds.
CREATE TABLE heap_hot (id int PRIMARY KEY, n int, t text) WITH (fillfactor = 60);
CREATE TABLE heap_toast (id serial PRIMARY KEY, round int, doc text);
ALTER TABLE heap_toast ALTER COLUMN doc SET STORAGE EXTERNAL;
CREATE TABLE heap_tail (n int, filler text);
CREATE TABLE IF NOT EXISTS heap_sub (n int, note text);
CREATE TABLE ticks (n int);
CREATE TABLE IF NOT EXISTS locked (id int PRIMARY KEY, n int);
INSERT INTO locked SELECT i, 0 FROM generate_series(1, 1500) i ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS locked_child (id int REFERENCES locked);
CREATE TABLE prepared (n int PRIMARY KEY, note text);

CREATE TABLE bt (id int, dup int, wide text, churn int);
CREATE INDEX bt_id ON bt (id);
CREATE INDEX bt_dup ON bt (dup);
CREATE UNIQUE INDEX bt_wide ON bt (wide);
CREATE INDEX bt_churn ON bt (churn, dup) WITH (fillfactor = 50);

CREATE TABLE hs (id int, t text);
CREATE INDEX hs_id ON hs USING hash (id);
CREATE INDEX hs_t ON hs USING hash (t);

CREATE TABLE gn (id int, tags int[], doc tsvector);
CREATE INDEX gn_tags ON gn USING gin (tags) WITH (fastupdate = off);
CREATE INDEX gn_doc ON gn USING gin (doc) WITH (fastupdate = on, gin_pending_list_limit = 64);

CREATE TABLE gs (id int, p point, r int4range, b box);
CREATE INDEX gs_p ON gs USING gist (p);
CREATE INDEX gs_r ON gs USING gist (r);
CREATE INDEX gs_b ON gs USING gist (b) WITH (fillfactor = 50);

CREATE TABLE sp (id int, t text, p point, r int4range);
CREATE INDEX sp_t ON sp USING spgist (t);
CREATE INDEX sp_quad ON sp USING spgist (p);
CREATE INDEX sp_kd ON sp USING spgist (p kd_point_ops);
CREATE INDEX sp_r ON sp USING spgist (r);

CREATE TABLE br (n int, t text, filler text) WITH (fillfactor = 10);
ALTER TABLE br ALTER COLUMN filler SET STORAGE PLAIN;
CREATE INDEX br_n ON br USING brin (n) WITH (pages_per_range = 1);
CREATE INDEX br_t ON br USING brin (t, n int4_minmax_multi_ops) WITH (pages_per_range = 2, autosummarize = on);
CREATE INDEX br_bloom ON br USING brin (n int4_bloom_ops) WITH (pages_per_range = 16);

CREATE SEQUENCE seq_plain;
CREATE SEQUENCE seq_cached CACHE 50;
CREATE SEQUENCE seq_cycle MINVALUE 1 MAXVALUE 7 CYCLE;

CREATE TABLE part (id int, day int, t text) PARTITION BY RANGE (day);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (100);
CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (100) TO (200) PARTITION BY HASH (id);
CREATE TABLE part_2a PARTITION OF part_2 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE part_2b PARTITION OF part_2 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE part_rest PARTITION OF part DEFAULT;
CREATE INDEX part_id ON part (id);

-- An access method that lives in an extension and writes generic WAL.
CREATE EXTENSION bloom;
CREATE TABLE bl (a int, b int, c int);
CREATE INDEX bl_abc ON bl USING bloom (a, b, c);
-- From PostgreSQL 16 on it writes no WAL for the index of an unlogged table, truncated ones included, so that a promoted standby cannot insert
-- into it. Nothing works on this one.
CREATE UNLOGGED TABLE un_bl (id int);
CREATE INDEX un_bl_id ON un_bl USING bloom (id);

CREATE UNLOGGED TABLE un (id int PRIMARY KEY, tags int[], p point, t text);
CREATE INDEX un_hash ON un USING hash (t);
CREATE INDEX un_gin ON un USING gin (tags);
CREATE INDEX un_gist ON un USING gist (p);
CREATE INDEX un_spgist ON un USING spgist (t);
CREATE INDEX un_brin ON un USING brin (id);
CREATE UNLOGGED SEQUENCE un_seq;

CREATE TABLE fat (id int, t text);
CREATE MATERIALIZED VIEW totals AS SELECT dup, count(*) AS n FROM bt GROUP BY dup;
CREATE UNIQUE INDEX totals_dup ON totals (dup);
