package state

import (
	"context"
	"database/sql"
	"io/fs"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/pressly/goose/v3"
)

// dialect is all that differs between the databases.
type dialect struct {
	// look is a transaction that reads of one moment.
	look sql.TxOptions
	// begun is called first in every write transaction: it makes them follow one another, and sees how far the database's clock
	// is ahead, if it has one.
	begun func(ctx context.Context, tx *sql.Tx, ahead *atomic.Int64) error
	// alone keeps other servers away until release is called, while the tables are brought up to date; nil: the provider does.
	alone func(ctx context.Context) (release func() error, err error)
	// parameters is how many a statement is given at most.
	parameters int
	// check looks for damage before anything is written.
	check func(ctx context.Context, db *sql.DB) error
	// provider makes the migrations ready for the database.
	provider func(db *sql.DB, migrations fs.FS) (*goose.Provider, error)
}

// IsPostgres tells whether a place is the URL of a PostgreSQL database, and not a file's path.
func IsPostgres(place string) bool {
	return strings.HasPrefix(place, "postgres://") || strings.HasPrefix(place, "postgresql://")
}

// Redacted is the place for logs and messages: a file's path, or the URL without its password and parameters.
func Redacted(place string) string {
	if !IsPostgres(place) {
		return place
	}
	u, err := url.Parse(place)
	if err != nil {
		return "postgres://…"
	}
	u.RawQuery = ""
	return u.Redacted()
}
