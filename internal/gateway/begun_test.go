package gateway

import (
	"database/sql"
	"fmt"
	"testing"
)

// A client that has begun a transaction and done nothing in it yet keeps nobody waiting and sees nothing of a switch: its transaction begins anew
// on the new primary, as it was asked for. (It was taken for a reader before, and its first write refused: trap 15.)
func testBegunTransactionsMove(t *testing.T, c *cluster) {
	makeWrites(t, c)
	g := c.gateway(t)
	db := g.open(t, "gw", "")
	begin := [][]string{{"BEGIN"}, {"start transaction /* now */"}, {"SET TRANSACTION ISOLATION LEVEL READ COMMITTED", "START TRANSACTION READ WRITE"}}
	clients := make([]*sql.Conn, len(begin))
	for i, texts := range begin {
		clients[i] = conn(t, db)
		for _, text := range texts {
			run(t, clients[i], text)
		}
	}
	only, snapshot := conn(t, db), conn(t, db)
	run(t, only, "START TRANSACTION READ ONLY")
	run(t, snapshot, "START TRANSACTION WITH CONSISTENT SNAPSHOT")
	old := c.primary.Port
	id := c.hold(t, g)
	if st := g.status(t); st.Switch.Lingering != 1 {
		t.Errorf("the snapshot alone lingers: %+v", st.Switch)
	}
	c.demote(t)
	c.promote(t)
	c.release(t, g, id)
	for i, client := range clients {
		run(t, client, "INSERT INTO writes (k) VALUES (?)", fmt.Sprint(t.Name(), i))
		if p := ask(t, client, "SELECT CONCAT(@@port, ' ', @@in_transaction)"); p != fmt.Sprintf("%d 1", c.primary.Port) {
			t.Errorf("%q: %s", begin[i], p)
		}
		before := ask(t, client, "SELECT COUNT(*) FROM writes")
		c.primary.Exec(t, "INSERT INTO gw.writes (k) VALUES ('another"+fmt.Sprint(i)+"')")
		if sees := before != ask(t, client, "SELECT COUNT(*) FROM writes"); sees != (i == 2) {
			t.Errorf("%q: it sees what is committed beside it: %v", begin[i], sees)
		}
		run(t, client, map[bool]string{false: "COMMIT", true: "ROLLBACK"}[i == 1])
	}
	if n := ask(t, clients[0], "SELECT COUNT(*) FROM writes WHERE k LIKE ?", t.Name()+"%"); n != "2" {
		t.Errorf("%s rows of two that were committed and one that was rolled back", n)
	}
	if _, err := only.ExecContext(bg(t), "INSERT INTO writes (k) VALUES ('no')"); sqlError(err) != 1792 {
		t.Errorf("a write in a transaction that is read-only: %v", err)
	}
	if p := ask(t, snapshot, "SELECT @@port"); p == ask(t, clients[0], "SELECT @@port") || old == c.primary.Port {
		t.Errorf("a snapshot was moved to %s", p)
	}
	if st := g.status(t); st.Counts.MovesFailed != 0 || st.Counts.RolledBack != 0 {
		t.Errorf("%+v", st.Counts)
	}
}

func TestBeginsEmpty(t *testing.T) {
	for text, want := range map[string]bool{
		"BEGIN": true, "begin work": true, "START TRANSACTION": true, " /* a */ start\ttransaction read only": true, "START TRANSACTION READ WRITE;": true,
		"START TRANSACTION WITH CONSISTENT SNAPSHOT": false, "START SLAVE": false, "BEGIN; SELECT 1": false, "BEGIN NOT ATOMIC SELECT 1; END": false, "SELECT 'BEGIN'": false, "": false,
	} {
		if got := beginsEmpty([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
