package mysql

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// longTransactions: none that wrote or locked is open for longer than a hold would wait for it (trap 15). Readers do not
// count: they finish on the demoted server.
func (in *inspection) longTransactions(ctx context.Context, f *finding) {
	if in.primary == nil {
		f.unknown(errNoPrimary)
		return
	}
	f.asked(openTransactions)
	rs, err := in.d.transactions(ctx, in.primary.place)
	if err != nil {
		f.unknown(err)
		return
	}
	drain := in.d.budgetOf(in.req.Settings).drain
	for _, r := range rs {
		if r["modified"] == "0" && r["locked"] == "0" {
			continue
		}
		if age := seconds(r["age"]); age >= max(drain, time.Second) {
			f.fail("let it end, or end it", "transaction of connection %s%s is open for %v with %s rows changed and %s locked; a hold waits %v", r["id"], r["who"], age, r["modified"], r["locked"], drain)
		}
	}
	f.pass("no open transaction that wrote or locked is older than %v", drain)
}

// trx_started is in the server's time zone, whatever the session's is.
const openTransactions = "SELECT t.trx_mysql_thread_id AS id, TIMESTAMPDIFF(SECOND, t.trx_started, CONVERT_TZ(NOW(), '+00:00', 'SYSTEM')) AS age, t.trx_rows_modified AS modified, t.trx_rows_locked AS locked FROM information_schema.INNODB_TRX t"

// listPause is how long nobody may have read a server's list of transactions before it gathers a new one.
const listPause = 100 * time.Millisecond

var errOldList = errors.New("the list of transactions is an old one: something else reads INNODB_TRX more often than every 100 ms, and so keeps it from being gathered anew")

// transactions lists a server's open transactions as they were after it was called: both products show an older list to whoever asks
// often. A transaction of its own, on a connection that never had one before, is the mark that an older list does not have.
func (d *Driver) transactions(ctx context.Context, p place) ([]row, error) {
	s, err := d.lookTo(ctx, p)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if err := s.exec(ctx, "START TRANSACTION WITH CONSISTENT SNAPSHOT"); err != nil {
		return nil, err
	}
	own := strconv.FormatUint(s.id, 10)
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Query)
	defer cancel()
	last := errOldList
	for tries := 0; ; tries++ {
		rs, err := s.rows(ctx, openTransactions)
		switch {
		case number(err) == errnoConversion:
			last = err // MySQL's list has the statements, too, in utf8mb3: it can't be had while one is beyond that
		case err != nil && tries > 0 && ctx.Err() != nil:
			return nil, fmt.Errorf("%s: %w", p, last) // the time is over in the middle of a look: what the looks before it showed is the reason
		case err != nil:
			return nil, err
		}
		if i := slices.IndexFunc(rs, func(r row) bool { return r["id"] == own }); i >= 0 {
			return slices.Delete(rs, i, i+1), s.whose(ctx, rs)
		}
		if sleep(ctx, listPause+rand.N(listPause/2)) != nil { // others may wait for the same
			return nil, fmt.Errorf("%s: %w", p, last)
		}
	}
}

// whose adds to transactions whose they are.
func (s *session) whose(ctx context.Context, transactions []row) error {
	ps, err := s.processes(ctx)
	if err != nil {
		return err
	}
	for _, r := range transactions {
		for _, p := range ps {
			if strconv.FormatUint(p.id, 10) == r["id"] {
				r["who"] = fmt.Sprintf(" (%s from %s)", p.user, p.host)
			}
		}
	}
	return nil
}

var (
	ddl      = regexp.MustCompile(`(?is)^(ALTER|OPTIMIZE|REPAIR|RENAME|TRUNCATE|CREATE\s+(OR\s+REPLACE\s+)?((ONLINE|OFFLINE|UNIQUE|FULLTEXT|SPATIAL|VECTOR)\s+)*(INDEX|TABLE)|DROP|LOAD|BACKUP|FLUSH\s+TABLES)\b`)
	reads    = regexp.MustCompile(`(?is)^\(*\s*(SELECT|SHOW|EXPLAIN|DESC|DESCRIBE|WITH|TABLE|VALUES|ANALYZE|SET|DO|HELP|CHECK|CHECKSUM)\b`)
	comments = regexp.MustCompile(`(?s)^(\s|/\*[^!M].*?\*/|--[^\n]*\n|#[^\n]*\n)+`)
)

// longStatements: no long write and no schema change runs on the primary.
func (in *inspection) longStatements(ctx context.Context, f *finding) {
	s := in.needPrimary(ctx, f)
	if s == nil {
		return
	}
	f.asked("SELECT … FROM information_schema.PROCESSLIST")
	ps, err := s.processes(ctx)
	if err != nil {
		f.unknown(err)
		return
	}
	drain := in.d.budgetOf(in.req.Settings).drain
	for _, p := range ps {
		if p.internal() || p.dump() || p.command != "Query" && p.command != "Execute" {
			continue
		}
		text := comments.ReplaceAllString(p.info, "")
		switch {
		case ddl.MatchString(text) && !strings.HasPrefix(strings.ToUpper(text), "CREATE TEMPORARY"):
			f.fail("let it end", "%s runs a schema change for %v: %.80s", p, p.age, text)
		case !reads.MatchString(text) && text != "" && p.age >= max(drain, time.Second):
			f.fail("let it end", "%s runs a write for %v: %.80s", p, p.age, text)
		}
	}
	f.pass("no long write and no schema change runs")
}

// xaPrepared: any prepared XA transaction refuses the switch: a read-only server refuses its COMMIT (trap 20).
func (in *inspection) xaPrepared(ctx context.Context, f *finding) {
	f.asked("XA RECOVER")
	for _, v := range []*view{in.primary, in.elect} {
		if v == nil {
			continue
		}
		s := in.need(ctx, f, v)
		if s == nil {
			continue
		}
		rs, err := s.rows(ctx, "XA RECOVER")
		switch {
		case err != nil:
			f.unknown(err)
		case len(rs) > 0:
			f.fail("commit or roll it back", "%s has %d prepared XA transactions, such as %q", v.place, len(rs), rs[0]["data"])
		default:
			f.pass("%s has none", v.place)
		}
	}
	if in.primary == nil {
		f.unknown(errNoPrimary)
	}
}

// unknownClients: nobody but gateways and who is known is connected to the primary: whoever goes around the gateways would see
// errors, and can't be held (trap 12).
func (in *inspection) unknownClients(ctx context.Context, f *finding) {
	s := in.needPrimary(ctx, f)
	if s == nil {
		return
	}
	if in.gsErr != nil {
		f.unknown(in.gsErr)
		return
	}
	f.asked("SELECT … FROM information_schema.PROCESSLIST, compared with the gateways' sessions")
	strangers, err := in.d.clients(ctx, s, in.gs)
	if err != nil {
		f.unknown(err)
		return
	}
	for _, p := range strangers {
		f.fail("send it through a gateway, or name its account or address as known", "%s is connected to the primary and is no gateway's", p)
	}
	f.pass("only gateways and known clients are connected to %s", in.primary.place)
}

// externalReplicas: nobody whom the switch would cut off reads the binary log of a node (replicas that are not in the
// inventory, readers of changes).
func (in *inspection) externalReplicas(ctx context.Context, f *finding) {
	f.asked("SHOW SLAVE HOSTS / SHOW REPLICAS; SELECT … FROM information_schema.PROCESSLIST")
	ids := map[string]bool{}
	for _, v := range f.known(in.sc.views) {
		ids[v.serverID] = true
	}
	for _, v := range in.sc.views {
		if v.err != nil {
			continue
		}
		s := in.need(ctx, f, v)
		if s == nil {
			continue
		}
		strangers, err := s.readers(ctx, in.sc, ids, in.d.cfg.Known.Readers)
		if err != nil {
			f.unknown(err)
			continue
		}
		for _, who := range strangers {
			const remedy = "tell whoever reads there to follow the new primary, and name its account as a known reader; or add it to the inventory"
			if v == in.primary {
				f.fail(remedy, "%s reads the binary log of the primary %s and is not in the inventory: the switch would cut it off", who, v.place)
			} else {
				f.warn(remedy, "%s reads the binary log of %s", who, v.place)
			}
		}
	}
	f.pass("only nodes of the cluster read binary logs")
}

// readers names who reads the server's binary log and is no node of the cluster. A registered replica is known by its server id;
// a reader that does not register is found because there are more readers than nodes that follow the server.
func (s *session) readers(ctx context.Context, sc *scene, ids map[string]bool, known []string) ([]string, error) {
	ps, err := s.processes(ctx)
	if err != nil {
		return nil, err
	}
	ps = slices.DeleteFunc(ps, func(p process) bool { return !p.dump() || slices.Contains(known, p.user) })
	if len(ps) == 0 {
		return nil, nil
	}
	query := "SHOW SLAVE HOSTS"
	if s.fl.name() == "mysql" {
		query = "SHOW REPLICAS"
	}
	hosts, err := s.rows(ctx, query)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, h := range hosts {
		id := h["Server_id"] + h["Server_Id"]
		if !ids[id] {
			out = append(out, fmt.Sprintf("a replica with server_id %s (%s:%s)", id, h["Host"], h["Port"]))
		}
	}
	followers := 0
	for _, v := range sc.views {
		if v.err == nil && v.follows(s.node.Address) {
			followers++
		}
	}
	// Whoever is not registered is beyond the nodes that follow and the strangers that are named already.
	if extra := len(ps) - followers - len(out); extra > 0 {
		own := s.d.cfg.Replication.User
		for _, p := range ps {
			if p.user != own {
				out = append(out, p.String())
				extra--
			}
		}
		if extra > 0 {
			out = append(out, strconv.Itoa(extra)+" unregistered readers with the replication account "+own)
		}
	}
	return out, nil
}
