package gateway

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/windlass-db/windlass/internal/gateway/adminapi"
	"github.com/windlass-db/windlass/internal/wire"
)

// This file is about transactions that are open on a server which is not the right one any more: nobody is held inside a
// transaction (trap 14), so they go on where they are, and what they may still do there is settled here.

// stay lets a command through on the server where the session's transaction, cursor or long data is. mu is held and the
// session is pinned.
func (s *session) stay(ctx context.Context, req request) error {
	reader := s.linger.Load() || s.ep.readOnly
	if !reader || mayLinger(req) {
		return nil
	}
	if word, _ := firstWord(req.text); req.cmd == wire.ComQuery && (word == "BEGIN" || word == "START") && single(req.text) && s.cursors == 0 && s.stmts.longData == 0 {
		// A new transaction ends the old one, which has only read: it can begin on the right server.
		if err := s.end1("COMMIT"); err != nil {
			return err
		}
		return s.admit(ctx, req)
	}
	return s.lateWrite()
}

// mayLinger reports whether a reader's command may run on a server that has been demoted, or is about to be.
func mayLinger(req request) bool {
	switch req.cmd {
	case wire.ComQuery, wire.ComStmtExecute:
		if req.text == nil {
			return false
		}
		commit, rollback := endsTransaction(req.text)
		word, _ := firstWord(req.text)
		return commit || rollback || isRead(req.text) || slices.Contains([]string{"SET", "USE"}, word) && single(req.text)
	case wire.ComStmtBulkExecute:
		return false
	}
	return true
}

// lateWrite ends a reader's transaction that wants to write after the switch: as a deadlock's victim, it is rolled back
// and told to try again (trap 15). mu is held.
func (s *session) lateWrite() error {
	if s.ep.readOnly {
		return refuse(wire.ErrOptionPrevents, "HY000", "this is the read-only endpoint")
	}
	if s.status&wire.StatusInTrans != 0 {
		if err := s.end1("ROLLBACK"); err != nil {
			return err
		}
		s.gw.counts.rolledBack.Add(1)
	}
	return refuse(wire.ErrLockDeadlock, "40001", "the primary has moved while this transaction had only read, so it can't write: it was rolled back, try it again")
}

// end1 ends the session's transaction on its server. mu is held.
func (s *session) end1(how string) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.gw.cfg.Timeouts.Observe.D())
	defer cancel()
	var res wire.Result
	err := s.talk(ctx, func() (err error) {
		res, err = s.back.Query(how)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s on %s: %w", how, s.back.srv.address, err)
	}
	s.sawStatus(res.OK.Status)
	s.unsure = false
	return nil
}

// tellDoom tells the client that a switch has ended its transaction. mu is held.
func (s *session) tellDoom(req request) error {
	s.doomed = false
	if _, rollback := endsTransaction(req.text); rollback && req.cmd == wire.ComQuery {
		return s.admit(context.Background(), req)
	}
	return doom()
}

func doom() error {
	return refuse(wire.ErrLockDeadlock, "40001", "the transaction was rolled back because the primary had to move: try it again")
}

// transaction is what a server says of an open transaction.
type transaction struct{ modified, locked, tables int64 }

// errOldList says that a server showed a list of transactions that is older than the question.
var errOldList = errors.New("the server's list of transactions is an old one: something else reads INNODB_TRX more often than every 100 ms, and so keeps it from being gathered anew")

// listPause is how long nobody may have read a server's list of transactions before it gathers a new one.
const listPause = 100 * time.Millisecond

// openTransactions asks a server for its open transactions and running statements, by connection id. It needs the PROCESS
// privilege. What it answers was gathered after it was called: a transaction of its own is the mark, which an older list does not have.
// With retry it asks again until the list is a new one or its time is over.
func (g *Gateway) openTransactions(ctx context.Context, srv *server, retry bool) (map[uint32]transaction, map[uint32]string, error) {
	d := g.mon.dial
	d.Address = srv.address
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Timeouts.Observe.D())
	defer cancel()
	b, err := d.Connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer b.Close()
	release := b.Bound(ctx)
	defer release()
	if _, err := b.Query("START TRANSACTION WITH CONSISTENT SNAPSHOT"); err != nil {
		return nil, nil, err
	}
	for {
		list, running, err := askTransactions(b)
		if err != nil {
			return nil, nil, err
		}
		if _, fresh := list[b.Greeting.ThreadID]; fresh {
			return list, running, nil
		}
		if !retry {
			return nil, nil, errOldList
		}
		select {
		case <-ctx.Done():
			return nil, nil, errOldList
		case <-time.After(listPause + rand.N(listPause/2)): // others may wait for the same
		}
	}
}

// askTransactions asks once. The running statements come from SHOW FULL PROCESSLIST: MySQL's information_schema has them in
// utf8mb3, so that any question to that table fails with error 3854 while somebody's statement has an emoji.
func askTransactions(b *wire.Backend) (map[uint32]transaction, map[uint32]string, error) {
	res, refused, err := b.QueryMany("SELECT trx_mysql_thread_id, trx_rows_modified, trx_rows_locked, trx_tables_locked FROM information_schema.INNODB_TRX",
		"SHOW FULL PROCESSLIST")
	if err == nil {
		err = errors.Join(refused...)
	}
	if err != nil {
		return nil, nil, err
	}
	list, running := map[uint32]transaction{}, map[uint32]string{}
	for i := range res[0].Rows {
		var id uint32
		var t transaction
		fmt.Sscan(res[0].Value(i, 0), &id)
		fmt.Sscan(res[0].Value(i, 1), &t.modified)
		fmt.Sscan(res[0].Value(i, 2), &t.locked)
		fmt.Sscan(res[0].Value(i, 3), &t.tables)
		list[id] = t
	}
	for i := range res[1].Rows {
		var id uint32
		fmt.Sscan(res[1].Value(i, 0), &id)
		if info := res[1].Value(i, 7); info != "" {
			running[id] = info
		}
	}
	return list, running, nil
}

// wrote reports whether the transaction changed or locked anything.
func (t transaction) wrote() bool { return t.modified > 0 || t.locked > 0 || t.tables > 0 }

func (t transaction) String() string {
	return fmt.Sprintf("%d rows modified, %d rows and %d tables locked", t.modified, t.locked, t.tables)
}

// blocker describes the session in its present transaction or command.
func (s *session) blocker(kind, detail string) adminapi.Blocker {
	p := s.place.Load()
	return adminapi.Blocker{
		Session: s.id, User: *s.user.Load(), Client: s.address, Server: p.server, ThreadID: p.thread, Kind: kind, Detail: detail,
		AgeMS: (s.gw.clock() - s.began.Load()) / 1e6,
	}
}
