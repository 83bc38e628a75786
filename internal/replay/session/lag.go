package session

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/windlass-db/windlass/internal/wire"
)

// Behind is how far the server is behind its sources, the slowest of them. Not ok: it has a source and does not know, because its replication stands still. A server without a source is not
// behind. An account that may not ask gets the server's refusal.
func (c *Conn) Behind(ctx context.Context) (lag time.Duration, ok bool, err error) {
	within, cancel := context.WithTimeout(ctx, loginTime)
	defer cancel()
	release := c.b.Bound(within)
	defer release()
	ask, column := "SHOW ALL SLAVES STATUS", "Seconds_Behind_Master"
	res, err := c.b.Query(ask)
	var refused *wire.ServerError
	if errors.As(err, &refused) && refused.Code == syntaxError {
		ask, column = "SHOW REPLICA STATUS", "Seconds_Behind_Source"
		res, err = c.b.Query(ask)
	}
	if err != nil {
		return 0, false, fmt.Errorf("%s on %s: %w", ask, c.server.Name, err)
	}
	for row := range res.Rows {
		text, known := res.Named(row, column)
		if !known {
			return 0, false, nil
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return 0, false, fmt.Errorf("%s on %s: %w", ask, c.server.Name, err)
		}
		lag = max(lag, time.Duration(n)*time.Second)
	}
	return lag, true, nil
}

const syntaxError = 1064
