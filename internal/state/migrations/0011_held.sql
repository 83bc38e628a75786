-- +goose Up
ALTER TABLE actions ADD COLUMN held INTEGER NOT NULL DEFAULT 0; -- what it waits for is a person's word
