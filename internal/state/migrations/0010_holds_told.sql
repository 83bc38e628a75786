-- +goose Up
ALTER TABLE holds ADD COLUMN earlier TEXT NOT NULL DEFAULT ''; -- []telling as JSON: other holds of the cluster that were told in the last hour, beside told_*
