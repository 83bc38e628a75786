// Package plans compares how two versions mean to run a statement: what EXPLAIN says of both, without what differs between two healthy servers.
//
// Model. A Plan is the list of tables in the order in which they are read, each with its way of access, key, estimated rows and what is done beside it, and the operations around them
// (sorting, temporary tables, materialisation). Two plans differ in their structure, or in the power of ten of an estimate; costs are not compared, as versions
// count them in other units.
//
// Invariants. Nothing is run but EXPLAIN. What may be explained is decided by the statement's tokens, since no transaction and no read_only can do it: on a read-only MariaDB
// EXPLAIN of a DELETE fails with 1290 unless the account has READ ONLY ADMIN, and in a READ ONLY transaction with 1792. So that account is one of its own, may not EXECUTE, and whatever
// happens is rolled back (trap 38).
//
// Failure. A statement that a version refuses to explain has an answer with the refusal's number: one that the new version alone does not understand is a finding.
package plans

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/probe"
	"github.com/windlass-db/windlass/internal/replay/session"
	"github.com/windlass-db/windlass/internal/replay/tally"
	"github.com/windlass-db/windlass/internal/wire"
)

// ErrUnfit means that a statement is not explained, since it is none that EXPLAIN only looks at.
var ErrUnfit = errors.New("this statement is not explained")

// Step is one table of a plan.
type Step struct {
	Select string   `json:"select"` // SIMPLE, DEPENDENT SUBQUERY, …
	Table  string   `json:"table"`
	Access string   `json:"access"` // ALL, ref, …
	Key    string   `json:"key,omitempty"`
	Parts  string   `json:"parts,omitempty"` // bytes of the key that are used
	Rows   int64    `json:"rows"`
	Extra  []string `json:"extra,omitempty"`
}

// Plan is what a server means to do.
type Plan struct {
	Steps      []Step         `json:"steps,omitempty"`
	Operations map[string]int `json:"operations,omitempty"` // of FORMAT=JSON, how often each is there
	Refused    compare.Answer `json:"refused,omitzero"`     // the answer of a server that does not explain it
}

// Text is the plan as a person reads it.
func (p Plan) Text() string {
	if p.Refused.Errno != 0 {
		return fmt.Sprintf("error %d: %s", p.Refused.Errno, p.Refused.Message)
	}
	var b strings.Builder
	for _, s := range p.Steps {
		fmt.Fprintf(&b, "%s %s: %s", s.Select, s.Table, s.Access)
		if s.Key != "" {
			fmt.Fprintf(&b, " key=%s(%s)", s.Key, s.Parts)
		}
		fmt.Fprintf(&b, " rows=%d", s.Rows)
		for _, e := range s.Extra {
			b.WriteString("; " + e)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Fit tells whether a statement may be explained, and whether it is a write.
func Fit(s tally.Statement) (write bool, err error) {
	mode := session.Modes([]byte(s.SQLMode), query.Mode{})
	t := query.Look(s.Text, mode)
	_, normal := query.Fingerprint(nil, s.Text, mode)
	if t.Any(query.Multi|query.Files|query.Defines) || session.Classify(s.Text, normal, query.Reads).Kind != session.Read {
		return false, fmt.Errorf("%w: functions in it have effects, or it is more than one", ErrUnfit)
	}
	first, _, _ := strings.Cut(string(normal), " ")
	first = strings.TrimLeft(first, "(")
	switch first {
	case "select", "with", "values", "table":
		return t.Any(query.Writes), nil
	case "update", "delete", "insert", "replace":
		return true, nil
	}
	return false, fmt.Errorf("%w: it begins with %q", ErrUnfit, first)
}

// Explain asks one server. The session is left outside of a transaction.
func Explain(ctx context.Context, p *probe.Session, s tally.Statement) (plan Plan, err error) {
	write, err := Fit(s)
	if err != nil {
		return plan, err
	}
	if err := p.Enter(ctx, s); err != nil {
		var e *wire.ServerError
		if errors.As(err, &e) {
			plan.Refused = compare.Answer{Errno: e.Code, SQLState: e.State, Message: e.Message}
			return plan, nil
		}
		return plan, err
	}
	begin := "START TRANSACTION READ ONLY"
	if write {
		begin = "START TRANSACTION"
	}
	if err := p.Exec(ctx, begin); err != nil {
		return plan, err
	}
	defer func() {
		if e := p.Exec(context.WithoutCancel(ctx), "ROLLBACK"); e != nil && err == nil {
			err = e
		}
	}()
	classic := "EXPLAIN "
	if !p.MariaDB { // whose newer versions draw a tree, and write JSON of their own kind, unless they are told
		classic = "EXPLAIN FORMAT=TRADITIONAL "
		var old *wire.ServerError // has one kind alone
		if err := p.Exec(ctx, "SET SESSION explain_json_format_version=1"); err != nil && !errors.As(err, &old) {
			return plan, err
		}
	}
	res, err := p.Run(ctx, prefixed(classic, s))
	if err != nil {
		return plan, err
	}
	if res.Answer.Errno != 0 {
		plan.Refused = res.Answer
		return plan, nil
	}
	plan.Steps = steps(res.Data)
	res, err = p.Run(ctx, prefixed("EXPLAIN FORMAT=JSON ", s))
	if err != nil {
		return plan, err
	}
	if res.Answer.Errno == 0 && len(res.Data.Rows) > 0 && len(res.Data.Rows[0]) > 0 {
		plan.Operations = operations(res.Data.Rows[0][0])
	}
	return plan, nil
}

func prefixed(prefix string, s tally.Statement) tally.Statement {
	s.Text = append([]byte(prefix), s.Text...)
	return s
}

// steps reads the classic form.
func steps(r compare.Result) []Step {
	at := map[string]int{}
	for i, c := range r.Columns {
		at[strings.ToLower(c.Name)] = i
	}
	field := func(row [][]byte, name string) string {
		i, ok := at[name]
		if !ok || i >= len(row) {
			return ""
		}
		return string(row[i])
	}
	var out []Step
	for _, row := range r.Rows {
		s := Step{Select: field(row, "select_type"), Table: field(row, "table"), Access: field(row, "type"), Key: field(row, "key"), Parts: field(row, "key_len")}
		s.Rows, _ = strconv.ParseInt(field(row, "rows"), 10, 64) // an estimate; what is no number is none
		for _, e := range strings.Split(field(row, "extra"), "; ") {
			if e = strings.TrimSpace(e); e != "" && e != "Using where" {
				s.Extra = append(s.Extra, e)
			}
		}
		slices.Sort(s.Extra)
		out = append(out, s)
	}
	return out
}

// Change is one difference of two plans.
type Change struct {
	What  string `json:"what"`
	Worse bool   `json:"worse,omitempty"` // for the new version, as far as an estimate can say
}

// ways of access, the better ones first.
var ways = []string{"", "system", "const", "eq_ref", "ref", "fulltext", "ref_or_null", "unique_subquery", "index_subquery", "hash", "index_merge", "range", "hash_range", "index", "hash_index", "hash_ALL", "ALL"}

// Diff lists in what the structure of two plans differs.
func Diff(old, new Plan) []Change {
	if mute(old, new) && !misunderstood(old, new) {
		return nil // that is the account's, or a read-only server's, and says nothing of the version
	}
	if old.Refused.Errno != new.Refused.Errno {
		return []Change{{What: fmt.Sprintf("%s → %s", refusal(old), refusal(new)), Worse: new.Refused.Errno != 0}}
	}
	if old.Refused.Errno != 0 {
		return nil
	}
	var out []Change
	if a, b := order(old), order(new); !slices.Equal(a, b) {
		out = append(out, Change{What: "tables are read in the order " + strings.Join(a, ", ") + " → " + strings.Join(b, ", ")})
	}
	for _, pair := range matched(old.Steps, new.Steps) {
		out = append(out, stepDiff(pair[0], pair[1])...)
	}
	for _, what := range []string{"Using filesort", "Using temporary"} {
		if a, b := count(old, what), count(new, what); a != b {
			out = append(out, Change{What: fmt.Sprintf("%s: %d → %d", strings.ToLower(strings.TrimPrefix(what, "Using ")), a, b), Worse: b > a})
		}
	}
	if a, b := dependent(old), dependent(new); a != b {
		out = append(out, Change{What: fmt.Sprintf("subqueries that run for each row: %d → %d", a, b), Worse: b > a})
	}
	return append(out, operationDiff(old.Operations, new.Operations)...)
}

// rights are the numbers of errors by which a server says that this account may not, or not here.
var rights = []uint16{1044, 1142, 1143, 1227, 1290, 1370, 1792}

func refusal(p Plan) string {
	if p.Refused.Errno == 0 {
		return "explained"
	}
	return fmt.Sprintf("error %d", p.Refused.Errno)
}

func order(p Plan) []string {
	var out []string
	for _, s := range p.Steps {
		if s.Table != "" {
			out = append(out, s.Table)
		}
	}
	return out
}

// matched pairs the steps of both plans that read one table, the n-th with the n-th.
func matched(old, new []Step) [][2]Step {
	var out [][2]Step
	used := map[int]bool{}
	for _, a := range old {
		for j, b := range new {
			if !used[j] && a.Table == b.Table && a.Table != "" {
				used[j] = true
				out = append(out, [2]Step{a, b})
				break
			}
		}
	}
	return out
}

func stepDiff(a, b Step) []Change {
	var out []Change
	if a.Access != b.Access {
		out = append(out, Change{What: fmt.Sprintf("%s: access %s → %s", a.Table, a.Access, b.Access), Worse: slices.Index(ways, b.Access) > slices.Index(ways, a.Access)})
	}
	if a.Key != b.Key {
		out = append(out, Change{What: fmt.Sprintf("%s: key %s → %s", a.Table, orNone(a.Key), orNone(b.Key)), Worse: b.Key == ""})
	} else if a.Parts != b.Parts {
		out = append(out, Change{What: fmt.Sprintf("%s: %s bytes of key %s → %s", a.Table, orNone(a.Parts), a.Key, orNone(b.Parts))})
	}
	if x, y := magnitude(a.Rows), magnitude(b.Rows); x != y && (b.Rows >= 5*a.Rows || a.Rows >= 5*b.Rows) {
		out = append(out, Change{What: fmt.Sprintf("%s: about 10^%d rows → 10^%d", a.Table, x, y), Worse: y > x})
	}
	return out
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// magnitude is the power of ten of an estimate.
func magnitude(rows int64) int { return int(math.Floor(math.Log10(float64(max(rows, 1))))) }

func count(p Plan, extra string) (n int) {
	for _, s := range p.Steps {
		if slices.Contains(s.Extra, extra) {
			n++
		}
	}
	return n
}

func dependent(p Plan) (n int) {
	for _, s := range p.Steps {
		if strings.HasPrefix(s.Select, "DEPENDENT") || strings.HasPrefix(s.Select, "UNCACHEABLE") {
			n++
		}
	}
	return n
}

// Compare asks both servers, and gives what the report shows of it. The kind is that of a finding, "" if there is none: one that the new version alone refuses.
func Compare(ctx context.Context, old, new *probe.Session, s tally.Statement) (e tally.Explained, a, b Plan, err error) {
	if a, err = Explain(ctx, old, s); err != nil {
		return e, a, b, err
	}
	if b, err = Explain(ctx, new, s); err != nil {
		return e, a, b, err
	}
	return Explained(a, b), a, b, nil
}

// Explained puts two plans side by side.
func Explained(old, new Plan) tally.Explained {
	e := tally.Explained{Old: old.Text(), New: new.Text()}
	var why []string
	for _, c := range Diff(old, new) {
		e.Differs = true
		e.Worse = e.Worse || c.Worse
		why = append(why, c.What)
	}
	e.Why = strings.Join(why, "; ")
	return e
}
