-- The relation maps, of this database and of the shared catalogs. Nothing that has made relations may be open or prepared:
-- building a unique index on a catalog waits for it.
VACUUM FULL pg_class;
VACUUM FULL pg_attribute;
VACUUM FULL pg_database;
REINDEX TABLE pg_type;
VACUUM pg_catalog.pg_statistic;
