package datacheck_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/datacheck"
)

func nothing(context.Context, any, float64, string) error { return nil }

// TestEqualUnderLoad compares while the primary is written to: both versions hold the same rows at each position, and
// every applier runs afterwards. trap 35
func TestEqualUnderLoad(t *testing.T) {
	w := newWorld(t, true)
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
	name   string
	plant  []string
	mend   []string
	check  string
	detail []string
}

// TestPlantedDifferences finds each of them, by table and key.
func TestPlantedDifferences(t *testing.T) {
	w := newWorld(t, true)
	for _, p := range []planted{
		{"one value", []string{"UPDATE app.load_rows SET v = v + 1000 WHERE id = 1234"}, []string{"UPDATE app.load_rows SET v = v - 1000 WHERE id = 1234"}, "data-rows", []string{"app.load_rows on green-1", "in id=1234", "id=1234 differs in v", "1 rows changed"}},
		{"two values that cancel out in a checksum of checksums", []string{"UPDATE app.load_rows SET v = 7 WHERE id IN (1, 3000)"}, []string{"UPDATE app.load_rows SET v = id WHERE id IN (1, 3000)"}, "data-rows", []string{"id=1 differs in v", "id=3000 differs in v"}},
		{"a missing row", []string{"DELETE FROM app.load_rows WHERE id = 1500"}, []string{"INSERT INTO app.load_rows VALUES (1500, 1500, 'first 1500')"}, "data-rows", []string{"id=1500 is missing", "1 missing"}},
		{"a row beyond the last", []string{"INSERT INTO app.load_rows VALUES (900000, 1, 'x')"}, []string{"DELETE FROM app.load_rows WHERE id = 900000"}, "data-rows", []string{"id=900000 is there in addition", "1 added"}},
		{"a row before the first", []string{"INSERT INTO app.load_rows VALUES (-5, 1, 'x')"}, []string{"DELETE FROM app.load_rows WHERE id = -5"}, "data-rows", []string{"id=-5 is there in addition"}},
		{"the last digit of a float", []string{"UPDATE app.t_num SET e = 16777218 WHERE id = 1"}, []string{"UPDATE app.t_num SET e = 16777217 WHERE id = 1"}, "data-rows", []string{"app.t_num on green-1", "id=1 differs in e"}},
		{"the last digit of a double", []string{"UPDATE app.t_num SET f = 0.3 WHERE id = 5"}, []string{"UPDATE app.t_num SET f = 0.30000000000000004 WHERE id = 5"}, "data-rows", []string{"id=5 differs in f"}},
		{"NULL for an empty string", []string{"UPDATE app.t_str SET b = NULL WHERE id = 2 AND part = 'b'"}, []string{"UPDATE app.t_str SET b = '' WHERE id = 2 AND part = 'b'"}, "data-rows", []string{"app.t_str", "(part='b' id=2) differs in b"}},
		{"one byte of a long value", []string{"UPDATE app.t_str SET h = CONCAT(LEFT(h, 1999), 'x') WHERE id = 1"}, []string{"UPDATE app.t_str SET h = REPEAT(x'ff00', 1000) WHERE id = 1"}, "data-rows", []string{"differs in h"}},
		{"case in a case-insensitive key", []string{"UPDATE app.t_uniq SET b = 'A' WHERE a = 1 AND b = 'a'"}, []string{"UPDATE app.t_uniq SET b = 'a' WHERE a = 1 AND b = 'a'"}, "data-rows", []string{"app.t_uniq"}},
		{"a microsecond", []string{"UPDATE app.t_time SET b = '2024-03-31 02:30:00.123457' WHERE id = 1"}, []string{"UPDATE app.t_time SET b = '2024-03-31 02:30:00.123456' WHERE id = 1"}, "data-rows", []string{"id=1 differs in b"}},
		{"an ENUM's error value", []string{"UPDATE app.t_str SET i = '' WHERE id = 1"}, []string{"UPDATE app.t_str SET i = 'ü' WHERE id = 1"}, "data-rows", []string{"differs in i"}},
		{"a bit", []string{"UPDATE app.t_num SET j = b'1' WHERE id = 1"}, []string{"UPDATE app.t_num SET j = 0xFFFFFFFFFFFFFFFF WHERE id = 1"}, "data-rows", []string{"id=1 differs in j"}},
		{"spaces in JSON text", []string{`UPDATE app.t_str SET k = '{"b": 1, "a": [1, 2]}' WHERE id = 1`}, []string{`UPDATE app.t_str SET k = '{"b": 1,  "a": [1, 2]}' WHERE id = 1`}, "data-rows", []string{"differs in k"}},
		{"a point", []string{"UPDATE app.t_misc SET c = POINT(1.5, -2.5) WHERE id = '11111111-2222-3333-4444-555555555555'"}, []string{"UPDATE app.t_misc SET c = POINT(1.5, -2.25) WHERE id = '11111111-2222-3333-4444-555555555555'"}, "data-rows", []string{"app.t_misc", "id=11111111-2222-3333-4444-555555555555 differs in c"}},
		{"an invisible column and what is computed of it", []string{"UPDATE app.t_misc SET inv = 5 WHERE a = '::1'"}, []string{"UPDATE app.t_misc SET inv = 4 WHERE a = '::1'"}, "data-rows", []string{"differs in inv, gs, ix"}},
		{"a key of ENUM, SET, BIT and YEAR", []string{"DELETE FROM app.t_enumkey WHERE y = 2024"}, []string{"INSERT INTO app.t_enumkey VALUES ('z', 'q,r', 31, 2024)"}, "data-rows", []string{"app.t_enumkey", "(e=1 s=3 b=31 y=2024) is missing"}},
		{"a row less among equal ones without a key", []string{"DELETE FROM app.t_nokey WHERE a = 1 LIMIT 1"}, []string{"INSERT INTO app.t_nokey SELECT * FROM app.t_nokey WHERE a = 1", "UPDATE app.t_nokey SET b = 'a!?' WHERE a = 1"}, "data-rows", []string{"app.t_nokey", "the whole table, which has no key", "1 times, 2 on the reference"}},
		{"two pairs of equal rows", []string{"UPDATE app.t_nokey SET b = 'z' WHERE a = 1"}, []string{"UPDATE app.t_nokey SET b = 'a!?' WHERE a = 1"}, "data-rows", []string{"app.t_nokey", "0 times, 2 on the reference"}},
		{"history of a versioned table", []string{"SET system_versioning_insert_history=1", "INSERT INTO app.t_sv (id, v, row_start, row_end) VALUES (2, 9, '2020-01-01', '2020-01-02')"}, []string{"DELETE HISTORY FROM app.t_sv BEFORE SYSTEM_TIME '2020-02-01'"}, "data-rows", []string{"app.t_sv", "id=2 differs"}},
		{"names that need quotes", []string{"UPDATE app.`odd ``name` SET `ünï` = 'e🍣'"}, []string{"UPDATE app.`odd ``name` SET `ünï` = 'é🍣'"}, "data-rows", []string{"app.odd `name", "sel ect=1 differs in ünï"}},
		{"a sequence", []string{"DO SETVAL(app.sq, 800)"}, []string{"ALTER SEQUENCE app.sq RESTART 150"}, "data-sequence", []string{"sequence app.sq", "green-1"}},
		{"a collation", []string{"ALTER TABLE app.load_rows MODIFY s VARCHAR(40) COLLATE utf8mb4_uca1400_ai_ci"}, []string{"ALTER TABLE app.load_rows MODIFY s VARCHAR(40) COLLATE utf8mb4_general_ci"}, "data-definitions", []string{"green-1: column app.load_rows.s: collation name is \"utf8mb4_uca1400_ai_ci\", was \"utf8mb4_general_ci\""}},
		{"a schema's collation", []string{"ALTER DATABASE app COLLATE utf8mb4_uca1400_ai_ci"}, []string{"ALTER DATABASE app COLLATE utf8mb4_general_ci"}, "data-definitions", []string{"schema app: default collation name"}},
		{"an index", []string{"DROP INDEX px ON app.t_str"}, []string{"CREATE INDEX px ON app.t_str (c(10))"}, "data-definitions", []string{"index app.t_str.px is missing"}},
		{"a trigger", []string{"DROP TRIGGER app.tr2"}, []string{"CREATE DEFINER=windlass@`%` TRIGGER app.tr2 BEFORE INSERT ON app.t_nokey FOR EACH ROW set new.b = concat(new.b,'?')"}, "data-definitions", []string{"trigger app.tr2 is missing"}},
		{"a table", []string{"CREATE TABLE app.more (id INT PRIMARY KEY)"}, []string{"DROP TABLE app.more"}, "data-definitions", []string{"table app.more is there in addition"}},
		{"a grant", []string{"REVOKE INSERT ON app.load_rows FROM 'web'@'%'"}, []string{"GRANT INSERT ON app.load_rows TO 'web'@'%'"}, "data-definitions", []string{"grant GRANT"}},
		{"a password", []string{"SET PASSWORD FOR 'batch'@'10.%' = PASSWORD('other')"}, []string{"SET PASSWORD FOR 'batch'@'10.%' = PASSWORD('batch-secret')"}, "data-definitions", []string{"account batch@10.% differs in its authentication and options"}},
	} {
		t.Run(p.name, func(t *testing.T) {
			w.plant(t, p.plant...)
			defer w.plant(t, p.mend...)
			res, err := checker(t, nil).Compare(t.Context(), w.cluster, "blue", "green", campaign.Verify{ChunkRows: 700}, nil, nothing)
			if err != nil {
				t.Fatal(err)
			}
			var text string
			for _, r := range res.Bad() {
				if r.Name == p.check && r.Verdict == check.Fail {
					text += r.Detail + "\n"
				}
			}
			for _, d := range p.detail {
				if !strings.Contains(text, d) {
					t.Errorf("no %q in %q", d, res.String())
				}
			}
			t.Log(text)
		})
	}
	res, err := checker(t, nil).Compare(t.Context(), w.cluster, "blue", "green", campaign.Verify{}, nil, nothing)
	if err != nil || !res.OK() {
		t.Errorf("after mending all: %v %v", res, err)
	}
	running(t, w.green)
}
