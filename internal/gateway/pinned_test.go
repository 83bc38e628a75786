package gateway

import (
	"fmt"
	"testing"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
)

// A session that logged in before the server was given the old version's default collations has nothing of its own: it goes back to the old
// version, which has no such variable. One that set them holds them.
func TestASessionFromBeforeTheCollationsWereGiven(t *testing.T) {
	s := processtest.Primary(t, "11.8")
	conn, err := s.Admin.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	held := func() bool {
		t.Helper()
		var n int
		if err := conn.QueryRowContext(t.Context(), fmt.Sprintf("SELECT COUNT(*) FROM (%s) held WHERE name = HEX('CHARACTER_SET_COLLATIONS')", "SELECT HEX(VARIABLE_NAME) AS name"+harvestSQL[1][len("SELECT HEX(VARIABLE_NAME)"):])).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n > 0
	}
	var compiled string
	if err := conn.QueryRowContext(t.Context(), "SELECT @@global.character_set_collations").Scan(&compiled); err != nil || compiled == "" {
		t.Fatalf("%q, %v", compiled, err)
	}
	s.Exec(t, "SET GLOBAL character_set_collations = ''")
	for _, step := range []struct {
		stmt string
		held bool
	}{
		{"SET SESSION character_set_collations = ''", false},
		{"SET SESSION character_set_collations = '" + compiled + "'", false}, // what a login before it was given that
		{"SET SESSION character_set_collations = 'utf8mb4=utf8mb4_bin'", true},
	} {
		if _, err := conn.ExecContext(t.Context(), step.stmt); err != nil {
			t.Fatal(err)
		}
		if got := held(); got != step.held {
			t.Errorf("%s: held %v", step.stmt, got)
		}
	}
}
