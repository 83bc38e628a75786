-- +goose Up
ALTER TABLE observations ADD COLUMN received_at INTEGER NOT NULL DEFAULT 0; -- when it was told, by the state's clock
