package faults

import (
	"context"
	"fmt"
	"time"

	"github.com/windlass-db/windlass/internal/demo/load"
)

// roles tells which cells' servers are writable; one is the only one, or "".
func (l *lane) roles() (writable []string, one string, err error) {
	for cell, db := range l.dbs {
		var ro bool
		if err := db.QueryRow("SELECT @@global.read_only").Scan(&ro); err != nil {
			return nil, "", fmt.Errorf("%s: %w", cell, err)
		}
		if !ro {
			writable, one = append(writable, cell), cell
		}
	}
	if len(writable) != 1 {
		one = ""
	}
	return writable, one, nil
}

func otherCell(cell string) string {
	if cell == "blue" {
		return "green"
	}
	return "blue"
}

// unhurt is an error if a client has seen one.
func (l *lane) unhurt() error {
	if r := l.load.Report(); r.Errors > 0 {
		return fmt.Errorf("clients saw %d errors: %s", r.Errors, r.FirstError)
	}
	return nil
}

// runScheduler has the primary's event scheduler on and the other's off: one that was restarted by an earlier case booted
// with it off.
func (l *lane) runScheduler() error {
	for cell, db := range l.dbs {
		var ro bool
		if err := db.QueryRow("SELECT @@global.read_only").Scan(&ro); err != nil {
			return fmt.Errorf("%s: %w", cell, err)
		}
		value := map[bool]string{true: "OFF", false: "ON"}[ro]
		if _, err := db.Exec("SET GLOBAL event_scheduler=" + value); err != nil {
			return fmt.Errorf("%s: %w", cell, err)
		}
	}
	return nil
}

// scheduled sees that events run where the primary is, and nowhere else (trap 5). A server that was restarted in the case
// has its scheduler off.
func (l *lane) scheduled(primary string, restarted bool) error {
	for cell, db := range l.dbs {
		var scheduler, event string
		if err := db.QueryRow("SELECT @@global.event_scheduler, STATUS FROM information_schema.EVENTS WHERE EVENT_NAME='tick'").Scan(&scheduler, &event); err != nil {
			return fmt.Errorf("%s: %w", cell, err)
		}
		if on := scheduler == "ON"; on != (cell == primary) && (on || !restarted) || (event == "ENABLED") != (cell == primary) {
			return fmt.Errorf("the primary is in %s; in %s the event is %s and the event scheduler %s", primary, cell, event, scheduler)
		}
	}
	return nil
}

// settle sees what must hold when an action has ended.
func (l *lane) settle(ctx context.Context, c testCase) (byWatch bool, err error) {
	want := c.primary()
	writable, one, err := l.roles()
	if err != nil {
		return false, err
	}
	hurt := c.victim.cell()
	if len(writable) == 0 && hurt == want {
		// The primary was restarted when the action had made its last look. Servers boot read-only, and the supervisor's watch
		// opens it again.
		byWatch = true
		if err := until(ctx, patience/2, "the watch opens the primary", func() error {
			if writable, one, err = l.roles(); err == nil && one != want {
				err = fmt.Errorf("writable are the servers of %v", writable)
			}
			return err
		}); err != nil {
			return byWatch, err
		}
	} else if one != want {
		return false, fmt.Errorf("writable are the servers of %v, not that of %s alone", writable, want)
	}
	other := otherCell(one)
	acked := l.load.Report().Acked
	if err := until(ctx, patience/2, "clients write again", func() error {
		if n := l.load.Report().Acked; n < acked+4 {
			return fmt.Errorf("%d more writes were acknowledged", n-acked)
		}
		return nil
	}); err != nil {
		return byWatch, err
	}
	ids := l.load.AckedBetween(time.Time{}, time.Now())
	if err := until(ctx, patience/2, other+" replicates from "+one, func() error { return caughtUp(l.dbs[one], l.dbs[other]) }); err != nil {
		return byWatch, err
	}
	for cell, db := range l.dbs {
		stored, err := load.Stored(ctx, db, schema)
		if err != nil {
			return byWatch, err
		}
		if err := balance(ids, stored); err != nil {
			return byWatch, fmt.Errorf("%s (the primary is in %s): %w", cell, one, err)
		}
	}
	if err := l.scheduled(one, hurt != ""); err != nil {
		return byWatch, err
	}
	return byWatch, l.prober.verdict()
}

// balance holds what was acknowledged against what a server has.
func balance(acked []int64, stored map[int64]int) error {
	var lost []int64
	for _, id := range acked {
		if stored[id] == 0 {
			lost = append(lost, id)
		}
	}
	doubled := 0
	for _, n := range stored {
		if n > 1 {
			doubled++
		}
	}
	if len(lost) > 0 || doubled > 0 {
		return fmt.Errorf("of %d acknowledged writes %d are lost, such as %v; %d are doubled", len(acked), len(lost), lost[:min(len(lost), 5)], doubled)
	}
	return nil
}

// finish stops the load of a lane whose cases have all passed, and compares both servers' rows, whole.
func (l *lane) finish() error {
	if err := l.stop(); err != nil {
		return err
	}
	_, one, err := l.roles()
	if err != nil || one == "" {
		return fmt.Errorf("at the end there is not one primary: %w", err)
	}
	other := otherCell(one)
	if err := caughtUp(l.dbs[one], l.dbs[other]); err != nil {
		return err
	}
	for _, table := range []string{"orders", "order_lines", "nudge"} {
		sums := map[string]string{}
		for cell, db := range l.dbs {
			var name, sum string
			if err := db.QueryRow("CHECKSUM TABLE "+schema+"."+table).Scan(&name, &sum); err != nil {
				return err
			}
			sums[cell] = sum
		}
		if sums["blue"] != sums["green"] {
			return fmt.Errorf("the rows of %s differ: %v", table, sums)
		}
	}
	r := l.load.Report()
	l.t.Logf("%d writes acknowledged, %d unknown, %d errors of clients, longest stall %v; the prober looked %d times", r.Acked, r.Unknown, r.Errors, r.LongestStall.Round(time.Millisecond), l.prober.looks)
	return nil
}
