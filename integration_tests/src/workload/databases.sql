-- Databases and tablespaces: made, filled, moved and dropped.
SET synchronous_commit = off;
CREATE DATABASE by_wal_:round STRATEGY wal_log;
CREATE DATABASE by_copy_:round STRATEGY file_copy;
CREATE TABLESPACE in_place_:round LOCATION '';
CREATE TABLESPACE located_:round LOCATION :'location';
CREATE DATABASE in_space_:round TABLESPACE in_place_:round;
CREATE DATABASE to_drop_:round STRATEGY file_copy;
CREATE DATABASE to_drop_too_:round STRATEGY wal_log TEMPLATE by_wal_:round;

CREATE TABLE spaced_:round (id int PRIMARY KEY USING INDEX TABLESPACE in_place_:round, t text) TABLESPACE located_:round;
INSERT INTO spaced_:round SELECT i, md5(i::text) FROM generate_series(1, 1000) i;
CREATE TABLE wanderer_:round AS SELECT i AS id, md5(i::text) AS t FROM generate_series(1, 1500) i;
CREATE INDEX wanderer_id_:round ON wanderer_:round (id);
ALTER TABLE wanderer_:round SET TABLESPACE in_place_:round;
ALTER INDEX wanderer_id_:round SET TABLESPACE located_:round;
VACUUM spaced_:round;

ALTER DATABASE by_copy_:round SET TABLESPACE located_:round;
\c by_copy_:round
CREATE TABLE inside (id int PRIMARY KEY, t text);
INSERT INTO inside SELECT i, md5(i::text) FROM generate_series(1, 1000) i;
VACUUM FULL pg_class;
\c in_space_:round
CREATE TABLE inside (id int PRIMARY KEY, t text);
INSERT INTO inside SELECT i, md5(i::text) FROM generate_series(1, 1000) i;
CREATE UNLOGGED TABLE inside_un (id int PRIMARY KEY);
\c by_wal_:round
CREATE TABLE inside (id int PRIMARY KEY, t text);
INSERT INTO inside SELECT i, md5(i::text) FROM generate_series(1, 1000) i;
\c postgres
ALTER DATABASE in_space_:round SET TABLESPACE pg_default;
DROP DATABASE to_drop_:round;
DROP DATABASE to_drop_too_:round;
CREATE TABLESPACE to_drop_:round LOCATION '';
CREATE TABLE brief_:round (n int) TABLESPACE to_drop_:round;
INSERT INTO brief_:round VALUES (1);
DROP TABLE brief_:round;
DROP TABLESPACE to_drop_:round;
