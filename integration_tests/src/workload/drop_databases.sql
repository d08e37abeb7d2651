-- Drops what databases.sql of the same round has left.
DROP DATABASE by_copy_:round;
DROP DATABASE by_wal_:round;
DROP TABLE spaced_:round, wanderer_:round;
DROP TABLESPACE located_:round;
DROP TABLESPACE in_place_:round;
