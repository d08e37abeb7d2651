-- What the corners work on.
CREATE TABLE subs (n int PRIMARY KEY, note text);
CREATE TABLE burnt (n int);
CREATE TABLE imaged (id int PRIMARY KEY, t text);
INSERT INTO imaged SELECT i, repeat(md5(i::text), 6) FROM generate_series(1, 3000) i;
CREATE INDEX imaged_t ON imaged USING gin (to_tsvector('simple', t));
VACUUM imaged;
CREATE TABLE IF NOT EXISTS heap_sub (n int, note text);
CREATE TABLE IF NOT EXISTS locked (id int PRIMARY KEY, n int);
INSERT INTO locked SELECT i, 0 FROM generate_series(1, 1500) i ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS locked_child (id int REFERENCES locked);
