-- +goose Up
CREATE INDEX progress_of_cluster ON progress (env, cluster); -- without it every observation reads the whole table
