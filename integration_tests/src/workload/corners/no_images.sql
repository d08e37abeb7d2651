-- Work without full images, over a checkpoint.
INSERT INTO imaged SELECT i, md5(i::text) FROM generate_series(10001, 13000) i;
CHECKPOINT;
UPDATE imaged SET t = upper(t) WHERE id % 5 = 0;
DELETE FROM imaged WHERE id BETWEEN 11000 AND 12000;
VACUUM imaged;
UPDATE imaged SET t = t || 'x' WHERE id % 50 = 0;
INSERT INTO imaged SELECT i, md5(i::text) FROM generate_series(11000, 11500) i;
CHECKPOINT;
UPDATE imaged SET t = lower(t) WHERE id % 3 = 0;
DELETE FROM imaged WHERE id > 11200;
VACUUM imaged;
