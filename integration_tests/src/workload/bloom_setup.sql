-- An access method that lives in an extension and writes generic WAL.
CREATE EXTENSION bloom;
CREATE TABLE bl (a int, b int, c int);
CREATE INDEX bl_abc ON bl USING bloom (a, b, c);
CREATE INDEX un_bloom ON un USING bloom (id);
