package tap

import (
	"strings"
	"testing"

	"github.com/windlass-db/windlass/internal/capture"
)

// No statement that may hold a credential has its text in a file, sealed or not, masked or not; a prepared one neither its parameters.
func TestCredentials(t *testing.T) {
	secret := "hunter2"
	for _, withheld := range []string{
		"SET PASSWORD = PASSWORD('hunter2')", "SET PASSWORD FOR a@b = 'hunter2'", "CREATE USER a IDENTIFIED BY 'hunter2'", "create or replace user a identified via x using 'hunter2'",
		"ALTER USER a IDENTIFIED BY 'hunter2'", "GRANT ALL ON *.* TO a IDENTIFIED BY 'hunter2'", "CHANGE MASTER TO MASTER_HOST='x', MASTER_PASSWORD='hunter2'",
		"CHANGE REPLICATION SOURCE TO SOURCE_PASSWORD='hunter2'", "START REPLICA USER='x' PASSWORD='hunter2'", "CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (USER 'u', PASSWORD 'hunter2')",
		"CREATE TABLE t (a INT) ENGINE=FEDERATED CONNECTION='mysql://u:hunter2@h/d/t'", "SELECT 1; SET PASSWORD='hunter2'", "/*!50000 SET PASSWORD='hunter2' */", "SELECT PASSWORD('hunter2')",
		"SELECT old_password ('hunter2')", "INSERT INTO mysql.user (Host, User, Password) VALUES ('%', 'a', 'hunter2')", "UPDATE mysql.user SET authentication_string='hunter2'",
		"UPDATE mysql.global_priv SET Priv='hunter2'", "SET GLOBAL wsrep_sst_auth='root:hunter2'", "PREPARE p FROM 'CREATE USER a IDENTIFIED BY \"hunter2\"'", "EXECUTE IMMEDIATE 'SET PASSWORD=\"hunter2\"'",
		"SELECT AES_DECRYPT(a, 'hunter2') FROM t", "SET GLOBAL s3_secret_key='hunter2'", "SET GLOBAL s3_access_key = 'hunter2'", "set global some_token='hunter2'", "SET @@global.s3_secret_key := 'hunter2'", "CLONE INSTANCE FROM 'a'@'b':3306 IDENTIFIED BY 'hunter2'",
	} {
		if !Credential([]byte(withheld)) || !strings.Contains(withheld, secret) {
			t.Errorf("kept: %s", withheld)
		}
	}
	for _, kept := range []string{
		"SELECT * FROM t WHERE password_changed > 3", "SELECT id, password FROM users WHERE email='x'", "INSERT INTO users (name, password) VALUES ('a', 'b');", "SELECT 1", "CREATE TABLE t (a INT)", "SELECT 'http://x'",
		"SET @token = 'x', @my_secret := 'y'", "SET @a = 'token=x'", "UPDATE t SET author_id=3", "SELECT token, secret FROM t WHERE section='x'", "SHOW GRANTS", "SET NAMES utf8mb4",
	} {
		if Credential([]byte(kept)) {
			t.Errorf("withheld: %s", kept)
		}
	}
	tap := start(t)
	var s Session
	s.Login("app", "", 45)
	ask(tap.Tap, &s, "SET PASSWORD = PASSWORD('hunter2')")
	s.Set([]byte("SET @a = PASSWORD('hunter2')"), false)
	var known Known
	text := []byte("CREATE USER a IDENTIFIED BY ?")
	for _, st := range []Statement{
		{Command: comPrepare, Text: text, Payload: text, Number: 1, Prepared: &known, Answered: true},
		{Command: 0x17, Text: text, Payload: []byte("........hunter2"), Number: 1, Prepared: &known, Answered: true},
		{Command: 0x18, Text: text, Payload: []byte("......hunter2"), Number: 1, Prepared: &known},
	} {
		s.Start(tap.Tap, &st)
		s.End(&Answer{})
	}
	tap.ring.turn()
	s.Start(tap.Tap, &Statement{Command: 0x17, Text: text, Payload: []byte("........hunter2"), Number: 1, Prepared: &known, Answered: true})
	s.End(&Answer{})
	tap.balanced(t)
	files, _ := tap.read(t, nil)
	for _, f := range files {
		if got := texts(f); strings.Contains(got, secret) || strings.Count(got, "-credential") != map[bool]int{true: 4, false: 1}[len(f) > 5] {
			t.Error(got)
		}
	}
}

// Masked files hold no literal, and equal values are equal in them.
func TestMask(t *testing.T) {
	tap := start(t, func(c *Config) { c.Mask = []byte("0123456789abcdef") })
	var s Session
	s.Login("app", "", 45)
	s.Set([]byte("SET @name = 'secret-name'"), false)
	for _, text := range []string{
		"SELECT * FROM t WHERE a = 'secret-1' AND b = 4711 AND c = 0xdeadbeef AND d IN (-12.5, 'secret-1') /* for secret-person */ LIMIT 10", "SELECT \"secret-2\", _utf8mb4'secret-3', N'secret-4', 'it''s secret-5', 'secret\\'6'",
		"SELECT 'secret-7",
	} {
		ask(tap.Tap, &s, text)
	}
	plain := Statement{Command: comQuery, Text: []byte(`SELECT 'secret-8\', 'x'`), Payload: []byte(`SELECT 'secret-8\', 'x'`), Answered: true, Autocommit: true, Literal: true}
	s.Start(tap.Tap, &plain)
	s.End(&Answer{})
	ask(tap.Tap, &s, "SELECT '\x83\\', secret") // in Shift-JIS the \ is a part of the character
	execute := append([]byte{1, 0, 0, 0, 0, 1, 0, 0, 0, 0b100, 1, 0xfd, 0, 3, 0, 3, 0, 8}, "secret-9\x01\x02\x03\x04"...)
	s.Start(tap.Tap, &Statement{Command: 0x17, Payload: execute, Types: []byte{0xfd, 0, 3, 0, 3, 0}, Answered: true})
	s.End(&Answer{})
	s.Start(tap.Tap, &Statement{Command: 0x17, Payload: []byte("....x....secret-10"), Types: []byte{0xfd, 0}, Answered: true})
	s.End(&Answer{})
	s.Start(tap.Tap, &Statement{Command: 0x18, Payload: []byte("......secret-11")})
	s.Start(tap.Tap, &Statement{Command: 0x77, Payload: []byte("secret-12"), Answered: true})
	s.End(&Answer{})
	tap.balanced(t)
	files, _ := tap.read(t, nil)
	got := texts(files[0])
	if strings.Contains(got, "secret") || strings.Contains(got, "4711") || strings.Contains(strings.ToLower(got), "deadbeef") || strings.Contains(got, "12.5") {
		t.Errorf("a literal is left: %s", got)
	}
	var masked []string
	for _, e := range files[0] {
		if e.Kind == capture.End && (e.Ordered != 0 || e.Multiset != 0) {
			t.Errorf("a row is hashed without a key: %+v", e)
		}
		if e.Kind == capture.Start {
			masked = append(masked, e.Withheld+string(e.Payload))
		}
	}
	one := strings.Split(masked[0], "'")
	if !strings.HasPrefix(one[1], "s10:") || one[1] != one[9] || !strings.HasPrefix(one[3], "n4:") || !strings.HasPrefix(one[5], "x10:") || !strings.HasPrefix(one[7], "n4:") || !strings.HasSuffix(masked[0], "LIMIT 'n2:"+strings.Split(one[11], ":")[1]+"'") {
		t.Errorf("masked: %s", masked[0])
	}
	if masked[4] != capture.WithheldMasked || masked[8] != capture.WithheldMasked {
		t.Errorf("what can't be masked for sure: %q", masked)
	}
	if p := masked[5]; !strings.Contains(p, "t253:8:") || !strings.Contains(p, "t3:4:") || !strings.Contains(p, "NULL") || !strings.HasPrefix(p, string(execute[:9])) {
		t.Errorf("parameters: %q", p)
	}
	if !strings.Contains(masked[6], "?9:") || !strings.Contains(masked[7], "?9:") {
		t.Errorf("what is not what its types say: %q, %q", masked[6], masked[7])
	}
}

// Large payloads, with and without room borrowed for them.
func TestLargePayloads(t *testing.T) {
	tap := start(t, func(c *Config) { c.Ring = 8 << 20 })
	var s Session
	s.Login("app", "", 45)
	big := strings.Repeat("x", 1<<20)
	ask(tap.Tap, &s, "SELECT '"+big+"'")
	buf, ok := tap.Borrow(3 << 20)
	if !ok || cap(buf) < 3<<20 {
		t.Fatal("no room")
	}
	buf = append(buf, "SELECT 'streamed'"...)
	s.Start(tap.Tap, &Statement{Command: comQuery, Payload: buf, Borrowed: 3 << 20, Cut: 5, Answered: true, Autocommit: true})
	s.End(&Answer{})
	if _, ok := tap.Borrow(1 << 30); ok {
		t.Error("more was lent than there is")
	}
	s.Missed(tap.Tap)
	tap.Stop()
	if buf, ok := tap.Borrow(10); ok || buf != nil {
		t.Error("after the stop something was lent")
	}
	st := tap.balanced(t)
	files, _ := tap.read(t, nil)
	if st.Kept != 2 || st.Dropped[Full] != 1 || len(files[0]) != 5 || len(files[0][1].Payload) != 9+1<<20 || string(files[0][3].Payload) != "SELECT 'streamed'" || files[0][3].Cut != 5 {
		t.Errorf("%+v", st)
	}
	left := start(t, func(c *Config) { c.Statements = Selects })
	if buf, ok = left.Borrow(1 << 20); !ok {
		t.Fatal("no room")
	}
	s.Start(left.Tap, &Statement{Command: comQuery, Text: []byte("DELETE FROM t"), Payload: append(buf, "DELETE FROM t"...), Borrowed: 1 << 20, Answered: true, Autocommit: true})
	if _, ok := left.Borrow(1 << 20); !ok {
		t.Fatal("no room")
	}
	left.Return(1 << 20)
	if left.ring.used != 0 {
		t.Errorf("%d bytes of a statement that was dropped are used", left.ring.used)
	}
	tap.ring.mu.Lock()
	defer tap.ring.mu.Unlock()
	if tap.ring.used != 0 || tap.ring.owed != closeSize || tap.ring.ends != 0 {
		t.Errorf("%d bytes are used, %d owed", tap.ring.used, tap.ring.owed)
	}
}
