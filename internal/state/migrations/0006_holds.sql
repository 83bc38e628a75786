-- +goose Up
-- The holds that need a person, and what was told of them: an event is written when one begins, once.
CREATE TABLE holds (
	campaign TEXT NOT NULL, env TEXT NOT NULL, cluster TEXT NOT NULL,
	stage TEXT NOT NULL, code TEXT NOT NULL,  -- that holds now; "" if none
	since INTEGER NOT NULL,                   -- when it was first seen
	told_stage TEXT NOT NULL, told_code TEXT NOT NULL, told_at INTEGER NOT NULL, -- the last that was told
	PRIMARY KEY (campaign, env, cluster)
) STRICT;
