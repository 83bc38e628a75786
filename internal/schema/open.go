package schema

import (
	"context"
	"database/sql"
)

// Open opens a pool to the database of a data source name, in any of the forms that a check takes, and sees that the server answers. what
// names the data source name in errors, which hold no password.
func Open(ctx context.Context, d Dialect, what, dataSource string) (*sql.DB, error) {
	n, err := parseDSN(d, what, dataSource)
	if err != nil {
		return nil, err
	}
	return n.open(ctx, what)
}
