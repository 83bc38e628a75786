ALTER TABLE job ADD COLUMN priority INT NOT NULL DEFAULT 0;
CREATE INDEX CONCURRENTLY job_priority ON job (state, priority DESC, due);
