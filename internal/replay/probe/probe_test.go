package probe_test

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/probe"
	"github.com/windlass-db/windlass/internal/replay/session"
	"github.com/windlass-db/windlass/internal/replay/tally"
	"github.com/windlass-db/windlass/internal/wire"
)

func text(q string) tally.Statement { return tally.Statement{Command: 0x03, Text: []byte(q)} }

func TestProbe(t *testing.T) {
	s := processtest.Primary(t, "11.8")
	server, err := session.ParseDSN(processtest.DSN(s.Address(), processtest.AdminUser, processtest.AdminPassword, ""))
	if err != nil {
		t.Fatal(err)
	}
	p, err := probe.Open(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	t.Run("both protocols give the same values", func(t *testing.T) { protocols(t, p) })
	t.Run("context", func(t *testing.T) { context(t, p) })
	t.Run("refusals are answers", func(t *testing.T) { refusals(t, p) })
}

func run(t *testing.T, p *probe.Session, s tally.Statement) probe.Result {
	t.Helper()
	r, err := p.Run(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func one(t *testing.T, p *probe.Session, q string) string {
	t.Helper()
	r := run(t, p, text(q))
	if r.Answer.Errno != 0 || len(r.Data.Rows) != 1 {
		t.Fatalf("%s: %+v", q, r)
	}
	return string(r.Data.Rows[0][0])
}

func protocols(t *testing.T, p *probe.Session) {
	for _, q := range []string{
		"CREATE TABLE app.t (id INT PRIMARY KEY, a TINYINT, b SMALLINT UNSIGNED, c MEDIUMINT, d BIGINT UNSIGNED, e FLOAT, f DOUBLE, g DECIMAL(20,5), h DATE, i DATETIME(6), j TIMESTAMP NULL, k TIME(3), l YEAR, m VARCHAR(20), n BLOB, o BIT(9), p ENUM('x','y'), q TIME) CHARSET=utf8mb4",
		"INSERT INTO app.t VALUES (1, -7, 65535, -8388608, 18446744073709551615, 1.5, 0.1, 12345.67890, '2024-02-29', '2024-02-29 01:02:03.000004', '2024-02-29 01:02:03', '-838:59:58.999', 2155, 'ä', x'00ff', 511, 'y', '00:00:00')",
		"INSERT INTO app.t (id, f, h, i) VALUES (2, 1e300, '0001-01-01', '2024-01-01')",
	} {
		if r := run(t, p, text(q)); r.Answer.Errno != 0 {
			t.Fatalf("%s: %+v", q, r.Answer)
		}
	}
	// an EXECUTE as a client sends it, with one parameter: id, flags, iterations, bitmap, types follow, BIGINT, 0
	params := append([]byte{9, 9, 9, 9, 0, 1, 0, 0, 0, 0, 1, 0x08, 0}, binary.LittleEndian.AppendUint64(nil, 0)...)
	again := append([]byte{9, 9, 9, 9, 0, 1, 0, 0, 0, 0, 0}, binary.LittleEndian.AppendUint64(nil, 0)...) // without the types, as the second time
	q := "SELECT * FROM app.t WHERE id > ? ORDER BY id"
	want := run(t, p, text("SELECT * FROM app.t WHERE id > 0 ORDER BY id"))
	for _, payload := range [][]byte{params, again} {
		got := run(t, p, tally.Statement{Command: 0x17, Text: []byte(q), Params: payload, Types: []byte{0x08, 0}})
		if d := compare.Results(want.Data, got.Data); d.Any() || len(got.Data.Rows) != 2 {
			t.Errorf("%+v\n%q\n%q", d, want.Data.Rows, got.Data.Rows)
		}
	}
	if _, err := p.Run(t.Context(), tally.Statement{Command: 0x17, Text: []byte(q), Params: params[:9]}); err == nil {
		t.Error("a parameter that is cut off is not missed")
	}
	if one(t, p, "SELECT 1") != "1" {
		t.Error("the session is out of step")
	}
}

func context(t *testing.T, p *probe.Session) {
	enter := func(s tally.Statement) {
		t.Helper()
		if err := p.Enter(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	enter(tally.Statement{Schema: "app", Charset: 45, SQLMode: "ANSI_QUOTES", At: time.Unix(1_700_000_000, 123456000), Settings: []string{"SET time_zone='+03:00', @x=1", "SET GLOBAL read_only=1", "SET autocommit=0, group_concat_max_len=4, max_statement_time=1"}})
	for q, want := range map[string]string{
		"SELECT DATABASE()": "app", "SELECT @@sql_mode": "ANSI_QUOTES", "SELECT UNIX_TIMESTAMP(NOW(6))": "1700000000.123456", "SELECT @@time_zone": "+03:00", "SELECT @@group_concat_max_len": "4", "SELECT @x": "1",
		"SELECT @@collation_connection": "utf8mb4_uca1400_ai_ci", // 45 is what a client sends that means utf8mb4
		"SELECT @@global.read_only":     "0",
		"SELECT @@autocommit":           "1", // and limits are the probe's own
		"SELECT @@max_statement_time":   "0.000000",
	} {
		if got := one(t, p, q); got != want {
			t.Errorf("%s: %q, want %q", q, got, want)
		}
	}
	enter(tally.Statement{Charset: 46}) // utf8mb4_bin; what the one before had set is gone
	for q, want := range map[string]string{"SELECT @@collation_connection": "utf8mb4_bin", "SELECT @@time_zone": "SYSTEM", "SELECT @@group_concat_max_len": "1048576", "SELECT DATABASE()": "app"} {
		if got := one(t, p, q); got != want {
			t.Errorf("%s: %q, want %q", q, got, want)
		}
	}
	var e *wire.ServerError
	if err := p.Enter(t.Context(), tally.Statement{Schema: "no_such"}); !errors.As(err, &e) || e.Code != 1049 {
		t.Errorf("%v", err)
	}
	enter(tally.Statement{Schema: "app", Charset: 8})
	if got := one(t, p, "SELECT @@collation_connection"); got != "latin1_swedish_ci" {
		t.Error(got)
	}
}

func refusals(t *testing.T, p *probe.Session) {
	for q, want := range map[string]uint16{"SELECT 1; SELECT 2": 1064, "SELECT vector": 1064, "SELECT * FROM app.none": 1146} {
		if r := run(t, p, text(q)); r.Answer.Errno != want {
			t.Errorf("%s: %+v, want %d", q, r.Answer, want)
		}
	}
	if r := run(t, p, tally.Statement{Command: 0x17, Text: []byte("SELECT * FROM app.none")}); r.Answer.Errno != 1146 {
		t.Errorf("%+v", r.Answer)
	}
	r := run(t, p, text("UPDATE app.t SET a = a + 1"))
	if r.Answer.Affected != 1 {
		t.Errorf("%+v", r.Answer)
	}
	if r := run(t, p, text("SELECT * FROM app.t")); r.Answer.Rows != 2 || r.Answer.Status&uint16(wire.StatusNoIndex) == 0 || r.Answer.FirstByte > r.Answer.Took {
		t.Errorf("%+v", r.Answer)
	}
}
