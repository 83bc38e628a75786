package seed

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/go-sql-driver/mysql"

	"github.com/windlass-db/windlass/internal/datacheck/node"
)

// ErrNoRoom means that the new node's disk is full. The step tries again: somebody may have enlarged it.
var ErrNoRoom = errors.New("there is no room")

// ErrGone means that the new node's server ended while it was written to. MariaDB 11.8 does so, for one, if its disk is full
// while it takes a statement back.
var ErrGone = errors.New("the server ended")

// room makes an error of a target's session say so if the target has no room for what it was to write. Others come back as
// they are.
func (j *job) room(ctx context.Context, c *node.Conn, err error) error {
	if gone := errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, driver.ErrBadConn); gone && ctx.Err() == nil {
		return fmt.Errorf("%s stopped answering in the middle of the copy, which is about %s (%w, or its connections were cut): look into its error log, a full disk is one cause; if it does not start again, delete the node and make it anew: %w", j.r.Node.Name, human(j.size), ErrGone, err)
	}
	if !full(ctx, c, err) {
		return err
	}
	return fmt.Errorf("%s has no room for the copy, which is about %s (%w): enlarge its disk, or delete the node and make it anew with more: %w", j.r.Node.Name, human(j.size), ErrNoRoom, err)
}

// full tells whether a statement's error comes from a full disk. Some numbers may mean anything: then a
// warning beside the error says it. Writing something to try the room is no way: on a full disk that can end the server.
func full(ctx context.Context, c *node.Conn, err error) bool {
	numbers := []string{strconv.Itoa(node.ErrDiskFull), strconv.Itoa(node.ErrTableFull)}
	n := node.Number(err)
	if n == 0 {
		return false
	}
	codes := []string{strconv.Itoa(int(n))}
	if rs, err := c.Rows(ctx, "SHOW WARNINGS"); err == nil {
		for _, r := range rs {
			codes = append(codes, r["Code"])
		}
	} // else the error is told as it came
	return slices.ContainsFunc(codes, func(c string) bool { return slices.Contains(numbers, c) })
}
