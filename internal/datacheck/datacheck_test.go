package datacheck_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/datacheck"
)

func nothing(context.Context, any, float64, string) error { return nil }

// TestComparing runs what needs a replica in the old cell, one after the other on the same servers.
func TestComparing(t *testing.T) {
	w := newWorld(t, true)
	for _, c := range []struct {
		name string
		run  func(*testing.T, *world)
	}{
		{"planted differences", plantedDifferences},
		{"a difference at one position only", oneMoment},
		{"equal under load", equalUnderLoad},
		{"killed at every save", killedAtEverySave},
		{"killed while servers are held", killedWhileHeld},
		{"killed while servers are held, and aborted", killedAndAborted},
		{"replicas as they are", replicasAsTheyAre},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, w) })
	}
}

// equalUnderLoad compares while the primary is written to: both versions hold the same rows at each position, and
// every applier runs afterwards. trap 35
func equalUnderLoad(t *testing.T, w *world) {
	stop := load(t, w.primary)
	var last datacheck.Status
	res, err := checker(t, nil).Compare(t.Context(), w.cluster, "blue", "green", campaign.Verify{ChunkRows: 100, MaxLag: 20 * time.Second}, nil,
		func(_ context.Context, st any, progress float64, msg string) error {
			t.Logf("%.2f %s", progress, msg)
			b, err := json.Marshal(st)
			if err != nil {
				return err
			}
			last = datacheck.Status{}
			return json.Unmarshal(b, &last)
		})
	n := stop()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range res {
		t.Logf("%s %s: %s (%s)", r.Name, r.Verdict, r.Detail, r.Evidence)
	}
	if !res.OK() {
		t.Error("not equal")
	}
	t.Logf("%d statements meanwhile", n)
	running(t, w.replica)
	running(t, w.green)
	if len(last.Stopped) != 0 {
		t.Errorf("left stopped: %v", last.Stopped)
	}
}

// planted is a difference, and what the verdict has to say of it.
type planted struct {
	round  int // those of a round are planted together, each in another table
	name   string
	plant  []string
	mend   []string
	check  string
	detail []string
}

// plantedDifferences finds each of them, by table and key.
func plantedDifferences(t *testing.T, w *world) {
	all := []planted{
		{1, "one value", []string{"UPDATE app.load_rows SET v = v + 1000 WHERE id = 1234"}, []string{"UPDATE app.load_rows SET v = v - 1000 WHERE id = 1234"}, "data-rows", []string{"app.load_rows on green-1", "in id=1234", "id=1234 differs in v", "1 rows changed"}},
		{2, "two values that cancel out in a checksum of checksums", []string{"UPDATE app.load_rows SET v = v + 20 WHERE id IN (10, 12)"}, []string{"UPDATE app.load_rows SET v = id WHERE id IN (10, 12)"}, "data-rows", []string{"id=10 differs in v", "id=12 differs in v"}},
		{3, "a missing row", []string{"DELETE FROM app.load_rows WHERE id = 1500"}, []string{"INSERT INTO app.load_rows VALUES (1500, 1500, 'first 1500')"}, "data-rows", []string{"id=1500 is missing", "1 missing"}},
		{4, "a row beyond the last", []string{"INSERT INTO app.load_rows VALUES (900000, 1, 'x')"}, []string{"DELETE FROM app.load_rows WHERE id = 900000"}, "data-rows", []string{"id=900000 is there in addition", "1 added"}},
		{5, "a row before the first", []string{"INSERT INTO app.load_rows VALUES (-5, 1, 'x')"}, []string{"DELETE FROM app.load_rows WHERE id = -5"}, "data-rows", []string{"id=-5 is there in addition"}},
		{1, "the last digit of a float", []string{"UPDATE app.t_num SET e = 16777218 WHERE id = 1"}, []string{"UPDATE app.t_num SET e = 16777217 WHERE id = 1"}, "data-rows", []string{"app.t_num on green-1", "id=1 differs in e"}},
		{2, "the last digit of a double", []string{"UPDATE app.t_num SET f = 0.3 WHERE id = 5"}, []string{"UPDATE app.t_num SET f = 0.30000000000000004 WHERE id = 5"}, "data-rows", []string{"id=5 differs in f"}},
		{1, "NULL for an empty string", []string{"UPDATE app.t_str SET b = NULL WHERE id = 2 AND part = 'b'"}, []string{"UPDATE app.t_str SET b = '' WHERE id = 2 AND part = 'b'"}, "data-rows", []string{"app.t_str", "(part='b' id=2) differs in b"}},
		{2, "one byte of a long value", []string{"UPDATE app.t_str SET h = CONCAT(LEFT(h, 1999), 'x') WHERE id = 1"}, []string{"UPDATE app.t_str SET h = REPEAT(x'ff00', 1000) WHERE id = 1"}, "data-rows", []string{"differs in h"}},
		{1, "case in a case-insensitive key", []string{"UPDATE app.t_uniq SET b = 'A' WHERE a = 1 AND b = 'a'"}, []string{"UPDATE app.t_uniq SET b = 'a' WHERE a = 1 AND b = 'a'"}, "data-rows", []string{"app.t_uniq"}},
		{1, "a microsecond", []string{"UPDATE app.t_time SET b = '2024-03-31 02:30:00.123457', f = f WHERE id = 1"}, []string{"UPDATE app.t_time SET b = '2024-03-31 02:30:00.123456', f = f WHERE id = 1"}, "data-rows", []string{"id=1 differs in b"}},
		{3, "an ENUM's error value", []string{"UPDATE app.t_str SET i = '' WHERE id = 1"}, []string{"UPDATE app.t_str SET i = 'ü' WHERE id = 1"}, "data-rows", []string{"differs in i"}},
		{3, "a bit", []string{"UPDATE app.t_num SET j = b'1' WHERE id = 1"}, []string{"UPDATE app.t_num SET j = 0xFFFFFFFFFFFFFFFF WHERE id = 1"}, "data-rows", []string{"id=1 differs in j"}},
		{4, "spaces in JSON text", []string{`UPDATE app.t_str SET k = '{"b": 1, "a": [1, 2]}' WHERE id = 1`}, []string{`UPDATE app.t_str SET k = '{"b": 1,  "a": [1, 2]}' WHERE id = 1`}, "data-rows", []string{"differs in k"}},
		{1, "a point", []string{"UPDATE app.t_misc SET c = POINT(1.5, -2.5) WHERE id = '11111111-2222-3333-4444-555555555555'"}, []string{"UPDATE app.t_misc SET c = POINT(1.5, -2.25) WHERE id = '11111111-2222-3333-4444-555555555555'"}, "data-rows", []string{"app.t_misc", "id=11111111-2222-3333-4444-555555555555 differs in c"}},
		{2, "an invisible column and what is computed of it", []string{"UPDATE app.t_misc SET inv = 5 WHERE a = '::1'"}, []string{"UPDATE app.t_misc SET inv = 4 WHERE a = '::1'"}, "data-rows", []string{"differs in inv, gs, ix"}},
		{1, "a key of ENUM, SET, BIT and YEAR", []string{"DELETE FROM app.t_enumkey WHERE y = 2024"}, []string{"INSERT INTO app.t_enumkey VALUES ('z', 'q,r', 31, 2024)"}, "data-rows", []string{"app.t_enumkey", "(e=1 s=3 b=31 y=2024) is missing"}},
		{1, "a row less among equal ones without a key", []string{"DELETE FROM app.t_nokey WHERE a = 1 LIMIT 1"}, []string{"INSERT INTO app.t_nokey SELECT * FROM app.t_nokey WHERE a = 1", "UPDATE app.t_nokey SET b = 'a!?' WHERE a = 1"}, "data-rows", []string{"app.t_nokey", "the whole table, which has no key", "1 times, 2 on the reference"}},
		{2, "two pairs of equal rows", []string{"UPDATE app.t_nokey SET b = 'z' WHERE a = 1"}, []string{"UPDATE app.t_nokey SET b = 'a!?' WHERE a = 1"}, "data-rows", []string{"app.t_nokey", "0 times, 2 on the reference"}},
		{1, "history of a versioned table", []string{"SET system_versioning_insert_history=1", "INSERT INTO app.t_sv (id, v, row_start, row_end) VALUES (2, 9, '2020-01-01', '2020-01-02')"}, []string{"DELETE HISTORY FROM app.t_sv BEFORE SYSTEM_TIME '2020-02-01'"}, "data-rows", []string{"app.t_sv", "id=2 differs"}},
		{1, "names that need quotes", []string{"UPDATE app.`odd ``name` SET `ünï` = 'e🍣'"}, []string{"UPDATE app.`odd ``name` SET `ünï` = 'é🍣'"}, "data-rows", []string{"app.odd `name", "sel ect=1 differs in ünï"}},
		{6, "a sequence", []string{"DO SETVAL(app.sq, 800)"}, []string{"ALTER SEQUENCE app.sq RESTART 150"}, "data-sequence", []string{"sequence app.sq", "green-1"}},
		{6, "a collation", []string{"ALTER TABLE app.load_rows MODIFY s VARCHAR(40) COLLATE utf8mb4_uca1400_ai_ci"}, []string{"ALTER TABLE app.load_rows MODIFY s VARCHAR(40) COLLATE utf8mb4_general_ci"}, "data-definitions", []string{"green-1: column app.load_rows.s: collation name is \"utf8mb4_uca1400_ai_ci\", was \"utf8mb4_general_ci\""}},
		{6, "a schema's collation", []string{"ALTER DATABASE app COLLATE utf8mb4_uca1400_ai_ci"}, []string{"ALTER DATABASE app COLLATE utf8mb4_general_ci"}, "data-definitions", []string{"schema app: default collation name"}},
		{6, "an index", []string{"DROP INDEX px ON app.t_str"}, []string{"CREATE INDEX px ON app.t_str (c(10))"}, "data-definitions", []string{"index app.t_str.px is missing"}},
		{6, "a trigger", []string{"DROP TRIGGER app.tr2"}, []string{"SET NAMES utf8mb4 COLLATE utf8mb4_general_ci, sql_mode='STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_CREATE_USER,NO_ENGINE_SUBSTITUTION'", "CREATE DEFINER=windlass@`%` TRIGGER app.tr2 BEFORE INSERT ON app.t_nokey FOR EACH ROW set new.b = concat(new.b,'?')"}, "data-definitions", []string{"trigger app.tr2 is missing"}},
		{6, "a table", []string{"CREATE TABLE app.more (id INT PRIMARY KEY)"}, []string{"DROP TABLE app.more"}, "data-definitions", []string{"table app.more is there in addition"}},
		{6, "a grant", []string{"REVOKE INSERT ON app.load_rows FROM 'web'@'%'"}, []string{"GRANT INSERT ON app.load_rows TO 'web'@'%'"}, "data-definitions", []string{"grant GRANT"}},
		{6, "a password", []string{"SET PASSWORD FOR 'batch'@'10.%' = PASSWORD('other')"}, []string{"SET PASSWORD FOR 'batch'@'10.%' = PASSWORD('batch-secret')"}, "data-definitions", []string{"account batch@10.% differs in its authentication and options"}},
	}
	for round := 1; round <= 6; round++ {
		for _, p := range all {
			if p.round == round {
				w.plant(t, p.plant...)
			}
		}
		res, err := checker(t, nil).Compare(t.Context(), w.cluster, "blue", "green", campaign.Verify{ChunkRows: 700}, nil, nothing)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range all {
			if p.round != round {
				continue
			}
			t.Run(p.name, func(t *testing.T) {
				var told []string
				for _, r := range res.Bad() {
					if r.Name == p.check && r.Verdict == check.Fail {
						told = append(told, r.Detail)
					}
				}
				// One check tells all that is asked for.
				if !slices.ContainsFunc(told, func(text string) bool {
					return !slices.ContainsFunc(p.detail, func(d string) bool { return !strings.Contains(text, d) })
				}) {
					t.Errorf("no %q in %s", p.detail, res)
				}
			})
			w.plant(t, p.mend...)
		}
	}
	res, err := checker(t, nil).Compare(t.Context(), w.cluster, "blue", "green", campaign.Verify{}, nil, nothing)
	if err != nil || !res.OK() {
		t.Errorf("after mending all: %v %v", res, err)
	}
	running(t, w.green)
}

// oneMoment: what is compared is one position. A difference that comes after the snapshots were opened is not
// seen before the next round; one that was there at that position is told with it, though replication has healed it since.
func oneMoment(t *testing.T, w *world) {
	var position string
	compare := func(t *testing.T, at string, do func()) check.Results {
		t.Helper()
		done := false
		res, err := checker(t, nil).Compare(t.Context(), w.cluster, "blue", "green", campaign.Verify{ChunkRows: 1000}, nil, func(_ context.Context, _ any, _ float64, msg string) error {
			if p, ok := strings.CutPrefix(msg, "comparing at "); ok {
				position = p
			}
			if !done && strings.HasPrefix(msg, at) {
				done = true
				do()
			}
			return nil
		})
		if err != nil || !done {
			t.Fatalf("done: %v; %v", done, err)
		}
		return res
	}
	res := compare(t, "app.load_rows up to", func() { w.plant(t, "UPDATE app.t_uniq SET c = 77 WHERE a = 1 AND b = 'b'") })
	if !res.OK() {
		t.Errorf("a later difference is part of the snapshot: %v", res)
	}
	heal := func() {
		w.primary.Exec(t, "UPDATE app.t_uniq SET c = 78 WHERE a = 1 AND b = 'b'") // the whole row is replicated
		w.green.CatchUp(t, w.primary)
		w.replica.CatchUp(t, w.primary)
	}
	res = compare(t, "app.load_rows up to", heal)
	if text := res.String(); res.OK() || !strings.Contains(text, "(a=1 b='b') differs in c") || !strings.Contains(text, " at "+position+":") {
		t.Errorf("not told with its position %s: %s", position, text)
	}
	res = compare(t, "app.load_rows up to", func() {})
	if !res.OK() {
		t.Errorf("at a later position both are equal: %v", res)
	}
}
