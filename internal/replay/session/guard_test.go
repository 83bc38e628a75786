package session

import (
	"slices"
	"testing"

	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

func classify(text string) Class {
	_, normal := query.Fingerprint(nil, []byte(text), query.Mode{})
	return Classify([]byte(text), normal, query.Look([]byte(text), query.Mode{}))
}

// trap 38: what is not surely a read, or a change of the session alone, is not sent.
func TestGuard(t *testing.T) {
	for text, want := range map[string]struct {
		kind   Kind
		reason string
	}{
		"SELECT * FROM t":                                         {Read, ""},
		"(SELECT 1) UNION (SELECT 2)":                             {Read, ""},
		"WITH x AS (SELECT 1) SELECT * FROM x":                    {Read, ""},
		"SHOW TABLES":                                             {Read, ""},
		"EXPLAIN UPDATE t SET a = 1":                              {Read, ""},
		"SELECT sleep, nextval, benchmark FROM t":                 {Read, ""},
		"SELECT my_function(1)":                                   {Read, ""}, // the session is READ ONLY
		"SELECT @a":                                               {Read, ""},
		"SELECT FOUND_ROWS()":                                     {Read, ""},
		"SET STATEMENT max_statement_time=1 FOR SELECT 1":         {Read, ""},
		"INSERT INTO t VALUES (1)":                                {Skip, tally.SkipWrite},
		"/*!50000 DELETE */ FROM t":                               {Skip, tally.SkipWrite},
		"WITH x AS (SELECT 1) DELETE FROM t":                      {Skip, tally.SkipWrite},
		"CALL p()":                                                {Skip, tally.SkipWrite},
		"DO SLEEP(1)":                                             {Skip, tally.SkipWrite},
		"KILL 5":                                                  {Skip, tally.SkipWrite},
		"ANALYZE UPDATE t SET a = 1":                              {Skip, tally.SkipWrite},
		"CREATE TEMPORARY TABLE x (a INT)":                        {Skip, tally.SkipDefinition},
		"TRUNCATE t":                                              {Skip, tally.SkipDefinition},
		"SELECT * FROM t FOR UPDATE":                              {Skip, tally.SkipLocks},
		"SELECT GET_LOCK('x', 1)":                                 {Skip, tally.SkipLocks},
		"LOCK TABLES t READ":                                      {Skip, tally.SkipLocks},
		"SELECT 1 INTO OUTFILE '/tmp/x'":                          {Skip, tally.SkipFiles},
		"SELECT LOAD_FILE('/etc/passwd')":                         {Skip, tally.SkipFiles},
		"SELECT 1; DELETE FROM t":                                 {Skip, tally.SkipMulti},
		"SELECT SLEEP(1)":                                         {Skip, tally.SkipEffects},
		"SELECT IF(a = 1, SLEEP (1), 0) FROM t":                   {Skip, tally.SkipEffects},
		"SELECT `sleep`(100)":                                     {Skip, tally.SkipEffects},
		"SELECT `get_lock` ('x',1)":                               {Skip, tally.SkipEffects},
		"SELECT 1 /*!999999 ' */ , get_lock('a',1) -- '":          {Skip, tally.SkipEffects},
		"SELECT /*!40001 SQL_NO_CACHE */ * FROM t":                {Read, ""},
		"SELECT NEXTVAL(s)":                                       {Skip, tally.SkipEffects},
		"SELECT NEXT VALUE FOR s":                                 {Skip, tally.SkipEffects},
		"SELECT PREVIOUS  VALUE  FOR s":                           {Skip, tally.SkipEffects},
		"SELECT MASTER_GTID_WAIT('0-1-1')":                        {Skip, tally.SkipEffects},
		"SELECT RELEASE_ALL_LOCKS()":                              {Skip, tally.SkipEffects},
		"SELECT service_get_write_locks('a', 'b', 9)":             {Skip, tally.SkipEffects},
		"SELECT group_replication_set_as_primary('a')":            {Skip, tally.SkipEffects},
		"SELECT 1+keyring_key_remove('a')":                        {Skip, tally.SkipEffects},
		"SET STATEMENT tx_read_only=0 FOR SELECT writes()":        {Skip, tally.SkipEffects},
		"SELECT @a := 1":                                          {Skip, tally.SkipOwnSession},
		"SELECT a INTO @x FROM t":                                 {Skip, tally.SkipOwnSession},
		"SELECT LAST_INSERT_ID()":                                 {Skip, tally.SkipOwnSession},
		"PREPARE x FROM 'DELETE FROM t'":                          {Skip, skipSQL},
		"EXECUTE x":                                               {Skip, skipSQL},
		"EXECUTE IMMEDIATE 'DELETE FROM t'":                       {Skip, skipSQL},
		"XA START 'x'":                                            {Skip, skipSQL},
		"SET NAMES latin1":                                        {Set, ""},
		"SET time_zone = '+00:00', SESSION sql_mode = 'ANSI'":     {Set, ""},
		"SET sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')": {Set, ""},
		"SET @a = 5":                                              {Set, ""},
		"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED":  {Set, ""},
		"SET GLOBAL max_connections = 1":                          {Skip, tally.SkipSession},
		"SET @@global.max_connections = 1":                        {Skip, tally.SkipSession},
		"SET PASSWORD = 'x'":                                      {Skip, tally.SkipSession},
		"SET @a = (SELECT 1)":                                     {Skip, tally.SkipSession},
		"SET @a = my_function()":                                  {Skip, tally.SkipSession},
		"SET tx_read_only = 0":                                    {Skip, tally.SkipSession},
		"SET @@session.transaction_read_only=off":                 {Skip, tally.SkipSession},
		"SET TRANSACTION READ WRITE":                              {Skip, tally.SkipSession},
		"SET ROLE admin":                                          {Skip, tally.SkipSession},
		"SET SQL_LOG_BIN = 0":                                     {Skip, tally.SkipSession},
		"USE shop":                                                {Use, ""},
		"BEGIN":                                                   {Begin, ""},
		"START TRANSACTION READ WRITE":                            {Begin, ""},
		"COMMIT AND CHAIN":                                        {End, ""},
		"ROLLBACK TO x":                                           {NoEffect, ""},
		"SAVEPOINT x":                                             {NoEffect, ""},
		"":                                                        {NoEffect, ""},
		"FROBNICATE":                                              {Skip, tally.SkipWrite},
	} {
		if c := classify(text); c.Kind != want.kind || c.Reason != want.reason {
			t.Errorf("%s: %d %q, want %d %q", text, c.Kind, c.Reason, want.kind, want.reason)
		}
	}
}

func TestEnv(t *testing.T) {
	env, mode, assigns := NewEnv("app", "shop", 45, []string{"SET NAMES latin1", "SET sql_mode='ANSI_QUOTES'", "SET GLOBAL x=1", "SET @a = my_function()", "SET TIMESTAMP=17"})
	if !slices.Equal(env.Settings, []string{"SET NAMES latin1", "SET sql_mode='ANSI_QUOTES'", "SET TIMESTAMP=17"}) || !mode.ANSIQuotes || mode.NoBackslashEscapes || !assigns || !env.OwnClock {
		t.Errorf("%+v %+v %v", env, mode, assigns)
	}
	for _, text := range []string{"SET time_zone='+01:00'", "set  TIME_ZONE = '+02:00'", "SET TIMESTAMP=DEFAULT", "SET NAMES utf8mb4"} {
		c := classify(text)
		env, mode = env.With(&c, []byte(text), mode)
	}
	if !slices.Equal(env.Settings, []string{"SET sql_mode='ANSI_QUOTES'", "set  TIME_ZONE = '+02:00'", "SET TIMESTAMP=DEFAULT", "SET NAMES utf8mb4"}) || env.OwnClock || !mode.ANSIQuotes {
		t.Errorf("%+v %+v", env, mode)
	}
	for text, want := range map[string]string{"USE shop": "shop", "use `my``shop` ;": "my`shop", "USE\tshop;": "shop"} {
		if got := Schema([]byte(text)); got != want {
			t.Errorf("%s: %q", text, got)
		}
	}
	if s := (Server{Name: "x"}).GoString(); s != "x" {
		t.Error(s)
	}
}
