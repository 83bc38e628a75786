-- +goose Up
-- What Decide looks at, read out of the observation when it is stored. The version stays as it was last seen when a look fails.
ALTER TABLE observations ADD COLUMN version TEXT NOT NULL DEFAULT '';
ALTER TABLE observations ADD COLUMN version_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE observations ADD COLUMN unknown TEXT NOT NULL DEFAULT ''; -- what could not be read
