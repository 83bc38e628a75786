-- +goose Up
ALTER TABLE tokens ADD COLUMN used_at INTEGER NOT NULL DEFAULT 0;    -- to the minute
ALTER TABLE tokens ADD COLUMN revoked_at INTEGER NOT NULL DEFAULT 0; -- it stays in the table, so that a file that still has it does not make it good again
