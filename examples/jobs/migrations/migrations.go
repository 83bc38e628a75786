// Package migrations holds the schema of examples/jobs, as folders that windlass reads: for each database one of every version, with all
// that came before it, and "contract", which drops what only 1.0 needed. From 1.0 to 1.1 it only expands.
package migrations

import "embed"

// Files holds DATABASE/VERSION/NUMBER_NAME.sql; the databases are postgres and mariadb.
//
//go:embed postgres mariadb
var Files embed.FS
