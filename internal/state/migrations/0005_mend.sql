-- +goose Up
-- Leave to put a cluster right while no action has it: no action of it is leased before mend_until.
ALTER TABLE clusters ADD COLUMN mender TEXT NOT NULL DEFAULT '';
ALTER TABLE clusters ADD COLUMN mend_until INTEGER NOT NULL DEFAULT 0;
ALTER TABLE clusters ADD COLUMN mend_error TEXT NOT NULL DEFAULT ''; -- why the last one failed, as it was told
ALTER TABLE clusters ADD COLUMN shut_since INTEGER NOT NULL DEFAULT 0; -- since when no node is seen writable; 0: one is
ALTER TABLE clusters ADD COLUMN shut_told INTEGER NOT NULL DEFAULT 0;
