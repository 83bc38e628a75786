-- +goose Up
CREATE TABLE clusters (
	env TEXT NOT NULL, name TEXT NOT NULL,
	spec TEXT NOT NULL,                -- fleet.Cluster as JSON: the inventory and the cells that were made
	term INTEGER NOT NULL DEFAULT 0,   -- grows with every lease of any action of the cluster
	PRIMARY KEY (env, name)
) STRICT;

CREATE TABLE campaigns (
	name TEXT NOT NULL PRIMARY KEY,
	spec TEXT NOT NULL,                -- campaign.Campaign as JSON
	status TEXT NOT NULL,              -- running, paused, aborted, completed
	applied_at INTEGER NOT NULL,       -- all times: microseconds since 1970, UTC
	rev INTEGER NOT NULL DEFAULT 0     -- updated first by every launch, so that launches follow one another
) STRICT;

CREATE TABLE progress (
	campaign TEXT NOT NULL, env TEXT NOT NULL, cluster TEXT NOT NULL,
	stage TEXT NOT NULL DEFAULT '',    -- last stage completed
	since INTEGER NOT NULL DEFAULT 0,
	done TEXT,                         -- []campaign.StageEnd as JSON: when it completed each stage that it has behind it
	failure TEXT,                      -- campaign.Failure as JSON
	attention TEXT NOT NULL DEFAULT '',
	way_back TEXT,                     -- fleet.WayBack as JSON
	rollback_to TEXT,                  -- while it is being rolled back: the stage to be back at
	PRIMARY KEY (campaign, env, cluster)
) STRICT;

CREATE TABLE actions (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	campaign TEXT NOT NULL, env TEXT NOT NULL, cluster TEXT NOT NULL,
	stage TEXT NOT NULL, direction TEXT NOT NULL,
	status TEXT NOT NULL,              -- queued, leased, waiting, ended
	plan TEXT NOT NULL,                -- strategy.Plan as JSON: a later release runs what was planned
	turned INTEGER NOT NULL DEFAULT 0, abort INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '',
	outcome TEXT NOT NULL DEFAULT '', message TEXT NOT NULL DEFAULT '',
	holder TEXT NOT NULL DEFAULT '', term INTEGER NOT NULL DEFAULT 0,
	lease_until INTEGER NOT NULL DEFAULT 0, not_before INTEGER NOT NULL DEFAULT 0,
	created_at INTEGER NOT NULL, ended_at INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX one_live_action ON actions (env, cluster) WHERE ended_at = 0;
CREATE INDEX actions_of_cluster ON actions (env, cluster, id);

CREATE TABLE action_steps (
	action_id INTEGER NOT NULL, idx INTEGER NOT NULL,
	record TEXT NOT NULL,              -- engine.StepRecord as JSON
	PRIMARY KEY (action_id, idx)
) STRICT;

CREATE TABLE events (
	seq INTEGER PRIMARY KEY,
	at INTEGER NOT NULL, kind TEXT NOT NULL, loud INTEGER NOT NULL DEFAULT 0,
	campaign TEXT NOT NULL DEFAULT '', env TEXT NOT NULL DEFAULT '', cluster TEXT NOT NULL DEFAULT '', stage TEXT NOT NULL DEFAULT '', step TEXT NOT NULL DEFAULT '',
	action_id INTEGER NOT NULL DEFAULT 0, term INTEGER NOT NULL DEFAULT 0,
	who TEXT NOT NULL DEFAULT '', message TEXT NOT NULL
) STRICT;
CREATE INDEX events_of_cluster ON events (env, cluster, seq);
CREATE INDEX events_of_campaign ON events (campaign, seq);
CREATE TABLE event_counter (id INTEGER PRIMARY KEY CHECK (id = 1), seq INTEGER NOT NULL) STRICT;
INSERT INTO event_counter (id, seq) VALUES (1, 0);

CREATE TABLE launches (
	campaign TEXT NOT NULL, key TEXT NOT NULL, at INTEGER NOT NULL, who TEXT NOT NULL, started INTEGER NOT NULL,
	PRIMARY KEY (campaign, key)
) STRICT;

CREATE TABLE rules (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	campaign TEXT NOT NULL, kind TEXT NOT NULL, -- pause, freeze, override
	spec TEXT NOT NULL, ended_at INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE switchovers (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	campaign TEXT NOT NULL, env TEXT NOT NULL, cluster TEXT NOT NULL, action_id INTEGER NOT NULL, idx INTEGER NOT NULL,
	spec TEXT NOT NULL,                -- engine.SwitchoverOutput as JSON
	UNIQUE (action_id, idx)
) STRICT;

CREATE TABLE observations (
	env TEXT NOT NULL, cluster TEXT NOT NULL, at INTEGER NOT NULL, spec TEXT NOT NULL,
	PRIMARY KEY (env, cluster)
) STRICT;

CREATE TABLE tokens (
	hash TEXT NOT NULL PRIMARY KEY,    -- SHA-256 of the token, which is 32 random bytes
	role TEXT NOT NULL, env TEXT NOT NULL, name TEXT NOT NULL, created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE sinks (name TEXT NOT NULL PRIMARY KEY, seq INTEGER NOT NULL) STRICT;
CREATE TABLE leaders (name TEXT NOT NULL PRIMARY KEY, holder TEXT NOT NULL, until INTEGER NOT NULL) STRICT;
