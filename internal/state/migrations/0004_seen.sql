-- +goose Up
ALTER TABLE observations ADD COLUMN seen TEXT; -- []campaign.Seen as JSON: roles and versions that were seen together
