-- Enough transaction ids to cross pages of pg_xact (32768 a page) and of pg_commit_ts (819 a page).
SET synchronous_commit = off;
DO $$
BEGIN
    FOR i IN 1..11000 LOOP
        INSERT INTO ticks VALUES (i);
        IF i % 11 = 0 THEN
            ROLLBACK;
        ELSE
            COMMIT;
        END IF;
    END LOOP;
END $$;
DELETE FROM ticks WHERE n % 2 = 0;
VACUUM ticks;
