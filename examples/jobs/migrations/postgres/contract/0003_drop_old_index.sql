-- windlass:contract
-- What only 1.0 needed. It waits until nothing of 1.0 is left and the way back is closed.
DROP INDEX CONCURRENTLY job_due;
