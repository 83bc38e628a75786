-- windlass:contract
-- What only 1.0 needed. It waits until nothing of 1.0 is left and the way back is closed.
ALTER TABLE job DROP INDEX job_due, ALGORITHM=INPLACE, LOCK=NONE;
