-- Images of many kinds of pages, right after a checkpoint; hint bits make some where pages have checksums.
CHECKPOINT;
SELECT count(*) FROM imaged \g /dev/null
UPDATE imaged SET t = reverse(t) WHERE id % 7 = 0;
DELETE FROM imaged WHERE id % 31 = 0;
SELECT count(*) FROM imaged \g /dev/null
VACUUM imaged;
CREATE INDEX image ON imaged (t, id);
DROP INDEX image;
