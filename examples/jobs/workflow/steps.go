package workflow

import (
	"context"
	"database/sql"
	"errors"
	"log"
	"time"
)

// A step belongs to its node for as long as claimFor. If the node dies, another takes it up then.
const claimFor = 3 * time.Second

// The timers: between two steps of a job, and before a step is tried again.
const (
	between    = 250 * time.Millisecond
	retryAfter = 100 * time.Millisecond
	idle       = 60 * time.Millisecond // of a worker that found nothing to do
	sick       = time.Second           // of one that got an error
)

// work takes steps that are due, until it is told to end; a step that it has begun it finishes.
func (e *engine) work(ctx context.Context) {
	for ctx.Err() == nil {
		did, err := e.step()
		pause := idle
		if err != nil {
			log.Printf("a step: %v", err)
			pause = sick
		}
		if did && err == nil {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// claim is a step that this node has.
type claim struct {
	id       int64
	step     int
	attempts int
	until    int64 // the claim's end; with it, it is this claim and no other
}

// errTaken means that the step was done, or is somebody else's by now.
var errTaken = errors.New("the step is somebody else's by now")

// toil is the work of a step. It only takes its time.
func toil(c claim) { time.Sleep(time.Duration(20+(c.id*31+int64(c.step)*17)%60) * time.Millisecond) }

// step does the next step of a job. What came of it is written once.
func (e *engine) step() (did bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := e.claim(ctx)
	if err != nil || c.id == 0 {
		return false, err
	}
	e.toil(c)
	now := time.Now()
	if (c.id+int64(c.step))%7 == 0 && c.attempts == 0 { // the first try of some fails, and is done again later
		_, err := e.db.ExecContext(ctx, e.db.q("UPDATE job SET due = ?, attempts = 1, claimed_by = '' WHERE id = ? AND step = ? AND claimed_by = ? AND claimed_until = ?"),
			now.Add(retryAfter).UnixMilli(), c.id, c.step, e.node, c.until)
		return true, err
	}
	tx, err := e.db.BeginTx(ctx, nil)
	if err != nil {
		return true, err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	// MySQL's assignments see the ones before them, so the step is counted last.
	res, err := tx.ExecContext(ctx, e.db.q(`UPDATE job SET attempts = 0, claimed_by = '', due = ?, finished_on = CASE WHEN step + 1 >= steps THEN ? ELSE '' END,
		state = CASE WHEN step + 1 >= steps THEN 'done' ELSE 'ready' END, step = step + 1 WHERE id = ? AND step = ? AND claimed_by = ? AND claimed_until = ?`),
		now.Add(between).UnixMilli(), e.version, c.id, c.step, e.node, c.until)
	if err != nil {
		return true, err
	}
	if rows, err := res.RowsAffected(); err != nil || rows != 1 {
		return true, errors.Join(errTaken, err)
	}
	if _, err := tx.ExecContext(ctx, e.db.q("INSERT INTO job_step (job_id, step, node, version) VALUES (?, ?, ?, ?)"), c.id, c.step, e.node, e.version); err != nil {
		return true, err
	}
	return true, tx.Commit()
}

// claim takes a step that is due and nobody has.
func (e *engine) claim(ctx context.Context) (claim, error) {
	// MariaDB's default isolation would lock the gaps between rows too, and new jobs would wait for whoever looks for one.
	tx, err := e.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return claim{}, err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	by := "due"
	if e.feature(ctx) {
		by = e.adds.Order
	}
	now := time.Now()
	c := claim{until: now.Add(claimFor).UnixMilli()}
	err = tx.QueryRowContext(ctx, e.db.q("SELECT id, step, attempts FROM job WHERE state = 'ready' AND due <= ? AND (claimed_by = '' OR claimed_until < ?) ORDER BY "+by+" LIMIT 1 FOR UPDATE SKIP LOCKED"),
		now.UnixMilli(), now.UnixMilli()).Scan(&c.id, &c.step, &c.attempts)
	if errors.Is(err, sql.ErrNoRows) {
		return claim{}, nil
	}
	if err != nil {
		return claim{}, err
	}
	if _, err := tx.ExecContext(ctx, e.db.q("UPDATE job SET claimed_by = ?, claimed_until = ? WHERE id = ?"), e.node, c.until, c.id); err != nil {
		return claim{}, err
	}
	return c, tx.Commit()
}
