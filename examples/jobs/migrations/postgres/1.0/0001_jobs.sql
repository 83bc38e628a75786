CREATE TABLE job (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name VARCHAR(100) NOT NULL UNIQUE,
    steps INT NOT NULL,
    step INT NOT NULL DEFAULT 0,
    state VARCHAR(10) NOT NULL DEFAULT 'ready',
    due BIGINT NOT NULL DEFAULT 0,
    attempts INT NOT NULL DEFAULT 0,
    claimed_by VARCHAR(80) NOT NULL DEFAULT '',
    claimed_until BIGINT NOT NULL DEFAULT 0,
    started_on VARCHAR(20) NOT NULL,
    finished_on VARCHAR(20) NOT NULL DEFAULT ''
);
CREATE INDEX job_due ON job (state, due);

-- The ledger has no unique key over a job's steps, so that a step done twice would be stored, and seen.
CREATE TABLE job_step (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id BIGINT NOT NULL REFERENCES job (id),
    step INT NOT NULL,
    node VARCHAR(80) NOT NULL,
    version VARCHAR(20) NOT NULL,
    done_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX job_step_of ON job_step (job_id, step);
