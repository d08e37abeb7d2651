-- Bloom indexes: growth, deletion, and a build.
INSERT INTO bl SELECT i % 10, i % 100, i FROM generate_series(1, 1500) i;
DELETE FROM bl WHERE c % 2 = 0;
VACUUM bl;
CREATE INDEX build_bloom ON bt USING bloom (id, dup);
DROP INDEX build_bloom;
