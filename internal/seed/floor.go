package seed

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/windlass-db/windlass/internal/datacheck/node"
)

// served sees that the primary's binary logs still hold all that follows the position: a node that is started from it
// later than that could never catch up (trap 33).
func (mariadb) served(ctx context.Context, primary *node.Conn, at string) error {
	position, err := node.ParsePosition(at)
	if err != nil {
		return err
	}
	logs, err := primary.Rows(ctx, "SHOW BINARY LOGS")
	if err != nil {
		return fmt.Errorf("read the binary logs of %s: %w", primary.Node.Name, err)
	}
	if len(logs) == 0 {
		return fmt.Errorf("%s keeps no binary log", primary.Node.Name)
	}
	first := logs[0]["Log_name"]
	var text sql.NullString
	if err := primary.One(ctx, "SELECT BINLOG_GTID_POS("+node.Quote(first)+", 4)", &text); err != nil {
		return fmt.Errorf("read where %s of %s begins: %w", first, primary.Node.Name, err)
	}
	if !text.Valid {
		return fmt.Errorf("%s of %s went away while it was read", first, primary.Node.Name)
	}
	oldest, err := node.ParsePosition(text.String)
	if err != nil {
		return err
	}
	if !position.Reaches(oldest) {
		return purgedMeanwhile(primary, text.String, at)
	}
	return nil
}

func purgedMeanwhile(primary *node.Conn, oldest, position string) error {
	return fmt.Errorf("the binary logs of %s begin at %q, the copy stands at %q: what lies between was purged while the data was copied; keep binary logs for longer (binlog_expire_logs_seconds)", primary.Node.Name, oldest, position)
}
