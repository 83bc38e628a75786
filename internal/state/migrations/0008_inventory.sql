-- +goose Up
-- What files have said, beside what campaigns have made of it. A row is kept when a cluster is forgotten: its term must never begin again.
ALTER TABLE clusters ADD COLUMN declared TEXT; -- fleet.Cluster as JSON, as the file said it when it was last applied
ALTER TABLE clusters ADD COLUMN fleet TEXT NOT NULL DEFAULT ''; -- the name of that file's fleet
ALTER TABLE clusters ADD COLUMN forgotten_at INTEGER NOT NULL DEFAULT 0;
