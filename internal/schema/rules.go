package schema

// Severity says what a finding is.
type Severity string

// The severities. A note alone leaves a check clean.
const (
	Breaks Severity = "breaks" // an old node fails, or writes what it did not mean to
	Locks  Severity = "locks"  // nodes of any version wait, for as long as a table is large
	Note   Severity = "note"   // to be known
)

// Rule is one of the rules, by its stable id.
type Rule struct {
	ID       string
	Severity Severity // that its findings have as a rule
	Why      string   // why an old node would break, or what waits
	Safe     string   // the safe rewrite
}

const contract = "leave it, and do it in a contract step of a later campaign, when nothing old is left and the rollback window has closed: in a migration of its own with the line -- windlass:contract"

// rules are all rules. docs/schema.md lists them, held by a test.
var rules = []Rule{
	{"drop-table", Breaks, "an old node still reads and writes the table, and each of its statements fails", contract},
	{"truncate-table", Breaks, "the rows that an old node works with are gone, and with them the way back", contract},
	{"delete-rows", Breaks, "rows that an old node works with are gone, and with them the way back; one statement also keeps their locks until it ends", "let the old version's rows be until the contract step, and delete a few thousand at a time there"},
	{"rename-table", Breaks, "an old node uses the old name, which is gone", "create the new table beside it and write both (a trigger, or the new version itself), or leave the name; drop the old one in a contract step"},
	{"drop-schema", Breaks, "an old node still uses the schema", contract},
	{"drop-column", Breaks, "an old node names the column in SELECT, INSERT and UPDATE, and each of them fails", contract},
	{"hide-column", Breaks, "an old node's SELECT * no longer returns the column, and its INSERT without a list of columns has one value too many", "leave it visible; hide it in a contract step"},
	{"rename-column", Breaks, "an old node uses the old name, which is gone", "add the new column, write both, backfill in batches; drop the old one in a contract step"},
	{"add-required-column", Breaks, "an old node's INSERT does not name the new column, which has no default, and fails", "add it with a constant default, or allow NULL; make it NOT NULL in a contract step"},
	{"column-in-the-middle", Breaks, "an old node's INSERT without a list of columns, and its SELECT *, put values into the wrong places", "add the column at the end"},
	{"reorder-columns", Breaks, "an old node's INSERT without a list of columns, and its SELECT *, put values into the wrong places", "leave the order"},
	{"select-star", Note, "an old node's SELECT * returns one more column, an INSERT without a list of columns has one value too few, and a pooled statement fails once with \"cached plan must not change result type\" (trap 40)", "name the columns in the old version's statements, and let its pool prepare again after that error"},
	{"set-not-null", Breaks, "an old node writes NULL, or leaves the column out, and fails", "give it a default and backfill; make it NOT NULL in a contract step"},
	{"drop-not-null", Note, "once a new node writes NULL, an old node reads a NULL that it does not know", "write no NULL before the last old node is gone (a feature that opens at the end)"},
	{"change-type", Breaks, "an old node reads or writes a value of the old type, which is converted, cut or refused", "add a column of the new type, write both, backfill in batches; drop the old one in a contract step"},
	{"narrow-type", Breaks, "an old node writes a value that no longer fits, and fails", "leave the type; narrow it in a contract step, when nothing writes such values"},
	{"widen-type", Note, "once a new node writes a longer or larger value, an old node may not hold it; a pooled statement fails once with \"cached plan must not change result type\" on PostgreSQL", "write no such value before the last old node is gone"},
	{"drop-default", Breaks, "an old node that leaves the column out gets NULL or an error where it got the default", "leave the default"},
	{"change-default", Breaks, "an old node that leaves the column out writes another value than it means", "leave the default, and let the new version write its value itself; change it in a contract step"},
	{"add-default", Note, "an old node that leaves the column out now writes the default where it wrote NULL", "see that the old version does not tell that NULL from a value"},
	{"change-generated", Breaks, "an old node writes a column that the server now computes, or reads one that it no longer does", "add a new column for the computed value"},
	{"change-identity", Breaks, "an old node that writes the column itself, or lets the server count, gets an error or another value", "leave how it counts"},
	{"add-generated-column", Note, "an old node that writes all columns (INSERT without a list) fails on a computed one", "name the columns in the old version's statements"},
	{"change-collation", Breaks, "comparisons, orders and unique keys change under the old node: values that differed may be equal", "add a column with the new collation, and move over in a contract step"},
	{"add-unique", Breaks, "an old node writes a value twice, as it always might, and fails", "let the new version keep values unique, and add the key in a contract step when only it writes"},
	{"drop-unique", Breaks, "an old node's upsert (ON CONFLICT, ON DUPLICATE KEY) fails or writes rows twice, and what it relies on is no longer kept", contract},
	{"change-primary-key", Breaks, "an old node finds, updates and upserts rows by the old key", "add a unique key beside it, and move the primary key in a contract step"},
	{"drop-index", Breaks, "an old node's queries that used the index read the whole table", contract},
	{"add-check", Breaks, "an old node writes a value that the check refuses, and fails", "let the new version keep to it, and add the check in a contract step"},
	{"drop-check", Note, "once a new node writes what the check refused, an old node reads values that it does not know", "write no such value before the last old node is gone"},
	{"add-foreign-key", Breaks, "an old node inserts a row before, or without, the one that it now must refer to, and fails", "let the new version keep to it, and add the key in a contract step"},
	{"foreign-key-blocks-delete", Breaks, "an old node knows nothing of the referring rows: its DELETE of a row that they refer to, themselves or by keys that cascade to them, fails; so does an UPDATE of its key, unless the key has ON UPDATE", "make the key, and each on the way to it, ON DELETE CASCADE, or ON DELETE SET NULL over columns that may be NULL; or add it in a contract step"},
	{"foreign-key-acts-on-delete", Note, "an old node's DELETE now deletes or changes rows of the new table too, and locks them", "see that this is meant"},
	{"drop-foreign-key", Breaks, "an old node relies on what the key does: rows that are deleted with their parent, and an error for a parent that there is not", contract},
	{"change-foreign-key", Breaks, "what an old node's DELETE and UPDATE do to referring rows changes", "leave the key; change it in a contract step"},
	{"drop-enum-value", Breaks, "an old node writes the value, and fails", contract},
	{"reorder-enum", Breaks, "the order of the values changes under the old node, and on MySQL their numbers", "add new values at the end"},
	{"add-enum-value", Note, "once a new node writes the new value, an old node reads one that it does not know", "write it only when the last old node is gone (a feature that opens at the end)"},
	{"drop-type", Breaks, "an old node uses the type in casts and parameters", contract},
	{"drop-extension", Breaks, "an old node still uses its functions, types and operators", contract},
	{"change-domain", Breaks, "an old node writes a value that the domain, or composite type, now refuses, or reads one that it refused", "make a new one for new columns"},
	{"add-trigger", Breaks, "an old node's writes do something more, or fail, in a way that it was never tested with", "let the trigger touch new tables and columns alone, keep it from failing, try it with --statements, and say so: --allow add-trigger"},
	{"drop-trigger", Breaks, "an old node relies on what the trigger wrote", contract},
	{"change-trigger", Breaks, "what an old node's writes do changes", "see that the trigger does for an old node's rows what it did, and say so: --allow change-trigger"},
	{"drop-view", Breaks, "an old node still reads the view", contract},
	{"change-view", Breaks, "an old node reads other columns or rows than it means to", "make a view with a new name, and drop the old one in a contract step"},
	{"drop-sequence", Breaks, "an old node still takes numbers from the sequence", contract},
	{"change-sequence", Breaks, "an old node gets other numbers than it means to", "make a new sequence"},
	{"drop-routine", Breaks, "an old node still calls it", contract},
	{"change-routine", Breaks, "an old node calls it and gets another result, or its arguments no longer fit", "make one with a new name, and drop the old one in a contract step"},
	{"drop-event", Breaks, "the old version relies on what the event does", contract},
	{"change-event", Note, "what the event does to the old version's rows changes", "see that this is meant"},
	{"row-security", Breaks, "an old node no longer sees, or may no longer write, rows that it did", "let the policy allow the old version's account everything until the contract step"},
	{"revoke", Breaks, "an old node's account may no longer do what it does", contract},
	{"change-owner", Breaks, "an old node's account that owned it may no longer use it", "leave the owner; or GRANT the old version's account what it does, and say so: --allow change-owner"},
	{"change-inheritance", Breaks, "an old node's SELECT, UPDATE and DELETE reach the rows of tables that inherit from its own: of one more, or no longer", "make the new table without INHERITS (LIKE takes the columns over)"},
	{"change-table-option", Breaks, "the engine, persistence, versioning or partitions of a table that an old node uses change, and its rows may be gone", "do it in a campaign of its own; what takes rows away, in a contract step"},
	{"rewrite-table", Locks, "the table is written anew, and nobody reads or writes it until that is done", "add a new column and backfill it in batches; on MySQL and MariaDB look for a form that is ALGORITHM=INSTANT or INPLACE; REFRESH a materialized view CONCURRENTLY"},
	{"volatile-default", Locks, "a default that is another for each row makes PostgreSQL write the whole table anew, while nobody reads or writes it", "add the column without the default, set the default, and backfill in batches"},
	{"copy-algorithm", Locks, "the table is copied, and nobody writes it until that is done", "look for a form that is ALGORITHM=INSTANT or INPLACE, or copy it with gh-ost or pt-online-schema-change"},
	{"online-rebuild", Note, "the table is built anew while it is read and written: it needs its size again on disk, and replicas that apply it fall behind for that long", "do it when few write, and watch the replicas' lag"},
	{"index-not-concurrent", Locks, "writes wait until the index is built", "CREATE INDEX CONCURRENTLY, in a file without a transaction; on a partitioned table ON ONLY it, then CONCURRENTLY on each partition, and ALTER INDEX … ATTACH PARTITION"},
	{"constraint-not-valid", Locks, "the whole table is read for the constraint while writes wait", "add it NOT VALID, and VALIDATE CONSTRAINT in a statement of its own, which lets writes go on"},
	{"scan-under-lock", Locks, "the whole table is read while writes wait", "SET NOT NULL: add CHECK (column IS NOT NULL) NOT VALID, validate it, then SET NOT NULL, then drop the check; UNIQUE and PRIMARY KEY: CREATE UNIQUE INDEX CONCURRENTLY, then ADD CONSTRAINT … USING INDEX"},
	{"blocks-writes", Locks, "writes wait until the statement is done", "add ALGORITHM=INPLACE, LOCK=NONE, and look for a form that the server takes it with"},
	{"backfill-in-one-statement", Locks, "one statement changes as many rows as there are: it keeps their locks until it ends, and replicas fall behind", "change a few thousand rows at a time, each in a transaction of its own: by ranges of a key of whole numbers (WHERE id BETWEEN 1 AND 5000), or by LIMIT on MySQL"},
	{"missing-lock-timeout", Note, "the statement needs its lock for a moment only, but waits for it behind the longest transaction, and everybody else waits behind it", "SET lock_timeout before it and try again, as `windlass` does when it applies a migration"},
	{"unknown-lock", Note, "what the statement locks could not be measured", "try it on a copy of the table"},
	{"old-statement-fails", Breaks, "a statement of the old version, which works on the old schema, fails on the new one", "change the migration so that it works"},
	{"old-statement-changes", Breaks, "a statement of the old version, which goes on working, gives other columns than the old version reads", "add columns at the end, and name the columns in the old version's statements first; else let the new version have a table or view of its own"},
	{"live-differs", Breaks, "the live database is no state on the way from --from to --to, so what was judged is not what will happen", "write the missing migration, or undo what was done by hand"},
	{"live-has-more", Note, "the live database has what no migration made", "see that no migration makes it anew, and that none relies on its absence"},
	{"not-compared", Note, "something could not be copied from the live database to the development server, so what the migration does to it is not judged", "give the folder of migrations that made it as --from"},
}

var ruleByID = func() map[string]Rule {
	m := map[string]Rule{}
	for _, r := range rules {
		m[r.ID] = r
	}
	return m
}()

// Rules lists every rule.
func Rules() []Rule { return append([]Rule(nil), rules...) }

// Finding is what one rule found.
type Finding struct {
	Rule      string    `json:"rule"`
	Severity  Severity  `json:"severity"`
	Object    string    `json:"object"`              // such as "column public.orders.total"
	Table     string    `json:"table,omitempty"`     // the table that waits or changes
	Detail    string    `json:"detail,omitempty"`    // what exactly was seen
	Statement string    `json:"statement,omitempty"` // the statement that does it
	File      string    `json:"file,omitempty"`
	Line      int       `json:"line,omitempty"`
	Why       string    `json:"why"`
	Safe      string    `json:"safe"`
	Estimate  *Estimate `json:"estimate,omitempty"`
	Allowed   string    `json:"allowed,omitempty"` // if it is allowed: by what; it then does not count
}

// Counts tells whether a finding keeps a check from being clean.
func (f Finding) Counts() bool { return f.Severity != Note && f.Allowed == "" }

func (s Statement) finding(rule, object, table, detail string) Finding {
	r, ok := ruleByID[rule]
	if !ok {
		panic("schema: no rule " + rule)
	}
	return Finding{Rule: r.ID, Severity: r.Severity, Object: object, Table: table, Detail: detail, Statement: s.SQL, File: s.File, Line: s.Line, Why: r.Why, Safe: r.Safe}
}
