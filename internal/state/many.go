package state

import (
	"context"
	"database/sql"
	"strconv"
	"strings"
)

// putMany writes many rows with few statements, and tells how many rows were touched. With PostgreSQL each statement is a way to another machine and
// back, and all other writers wait meanwhile: 10,000 of them are seconds, or minutes. into is the statement up to VALUES, conflict what
// follows the rows; every row has as many values.
func (s *Store) putMany(ctx context.Context, tx *sql.Tx, into, conflict string, all [][]any) (touched int64, err error) {
	for len(all) > 0 {
		width := len(all[0])
		some := all[:min(len(all), max(1, s.dialect.parameters/width))]
		all = all[len(some):]
		var q strings.Builder
		q.WriteString(into + " VALUES ")
		values := make([]any, 0, len(some)*width)
		for i, row := range some {
			if i > 0 {
				q.WriteString(", ")
			}
			for j := range row {
				q.WriteString(map[bool]string{true: "($", false: ", $"}[j == 0])
				q.WriteString(strconv.Itoa(len(values) + j + 1))
			}
			q.WriteByte(')')
			values = append(values, row...)
		}
		q.WriteString(" " + conflict)
		res, err := tx.ExecContext(ctx, q.String(), values...)
		if err != nil {
			return touched, err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return touched, err
		}
		touched += n
	}
	return touched, nil
}
