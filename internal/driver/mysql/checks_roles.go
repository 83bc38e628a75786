package mysql

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// durability says what the loss of a primary would mean: it is told, and does not hold (trap 16).
func (in *inspection) durability(_ context.Context, f *finding) {
	f.asked("SELECT @@global.sync_binlog, @@global.innodb_flush_log_at_trx_commit")
	for _, v := range []*view{in.primary, in.elect} {
		if v == nil {
			f.unknown(errNoElect)
			continue
		}
		sync, flush := v.vars["sync_binlog"], v.vars["innodb_flush_log_at_trx_commit"]
		if sync != "1" || flush != "1" {
			f.warn("set sync_binlog=1 and innodb_flush_log_at_trx_commit=1", "%s has sync_binlog=%s and innodb_flush_log_at_trx_commit=%s: if its machine dies, acknowledged commits can be lost", v.place, sync, flush)
			continue
		}
		f.pass("%s writes every commit to disk", v.place)
	}
}

// semisyncRoles: what is claimed when a primary is lost, and that nobody would wait for an acknowledgement that no one sends.
func (in *inspection) semisyncRoles(_ context.Context, f *finding) {
	f.asked("SHOW GLOBAL VARIABLES LIKE 'rpl_semi_sync%'")
	if in.primary == nil || in.elect == nil {
		f.unknown(errNoElect)
		return
	}
	names := in.primary.fl.semisync()
	p := in.primary.vars
	for _, v := range f.known(in.replicas) {
		if v.vars[names.source] == "ON" {
			f.fail("set "+names.source+"=0 there", "%s is a replica and has %s=ON: each of its commits waits %s ms for an acknowledgement that nobody sends", v.place, names.source, v.vars[names.timeout])
		}
	}
	if p[names.source] != "ON" {
		f.warn("", "%s does not wait for acknowledgements: a primary that is lost for good takes its last commits along. Windlass never replaces a lost primary; it waits until it returns", in.primary.place)
		return
	}
	if _, has := in.elect.vars[names.source]; !has {
		f.fail("install the plugin there", "%s can't wait for acknowledgements as %s does", in.elect.place, in.primary.place)
	}
	if in.elect.vars[names.replica] != "ON" {
		f.warn("set "+names.replica+"=1 there", "the elect %s does not acknowledge", in.elect.place)
	}
	if point := p[names.waitPoint]; point != "AFTER_SYNC" {
		f.warn("set "+names.waitPoint+"=AFTER_SYNC", "%s has %s: others see a commit that can still be lost", in.primary.place, point)
	}
	if ms, err := strconv.Atoi(p[names.timeout]); err == nil && ms < 3600_000 {
		f.warn("raise "+names.timeout, "%s falls back to asynchronous replication after %d ms: a loss of the primary is then a loss of commits", in.primary.place, ms)
	}
	f.pass("%s waits for acknowledgements before a commit is seen", in.primary.place)
}

// events: no scheduler runs where the primary is not, and what has to be moved is known (trap 5).
func (in *inspection) events(ctx context.Context, f *finding) {
	f.asked("SELECT … FROM information_schema.EVENTS; SELECT @@global.event_scheduler")
	for _, v := range f.known(in.replicas) {
		s := in.need(ctx, f, v)
		if s == nil {
			continue
		}
		names, err := s.enabledEvents(ctx)
		switch {
		case err != nil:
			f.unknown(err)
		case v.vars["event_scheduler"] == "ON" && len(names) > 0:
			f.fail("set event_scheduler=OFF there", "%s is a replica, its scheduler is on and %d events are enabled: one whose definer may write on a read-only server writes there", v.place, len(names))
		case v.vars["event_scheduler"] == "ON":
			f.warn("set event_scheduler=OFF there", "the scheduler of the replica %s is on", v.place)
		}
	}
	s := in.needPrimary(ctx, f)
	if s == nil {
		return
	}
	names, err := s.enabledEvents(ctx)
	if err != nil {
		f.unknown(err)
		return
	}
	f.pass("%d events of %s are to be enabled on the new primary, scheduler %s", len(names), in.primary.place, in.primary.vars["event_scheduler"])
}

// bypassAccounts: no account of an application can write on a read-only server.
func (in *inspection) bypassAccounts(ctx context.Context, f *finding) {
	s := in.needPrimary(ctx, f)
	if s == nil {
		return
	}
	if in.primary.fl.name() == "mysql" {
		f.pass("super_read_only stops administrators too")
		return
	}
	privileges := []string{"READ_ONLY ADMIN", "READ ONLY ADMIN"}
	if in.primary.version.less(version{10, 11, 0}) {
		privileges = append(privileges, "SUPER") // it held the other one until then
	}
	query := "SELECT DISTINCT GRANTEE FROM information_schema.USER_PRIVILEGES WHERE PRIVILEGE_TYPE IN (" + quoteAll(privileges) + ")"
	f.asked(query)
	rs, err := s.rows(ctx, query)
	if err != nil {
		f.unknown(err)
		return
	}
	ps, err := s.processes(ctx)
	if err != nil {
		f.unknown(err)
		return
	}
	served := map[string]bool{} // accounts that clients use
	for _, p := range ps {
		if !p.internal() && !p.dump() {
			served[p.user] = true
		}
	}
	for _, a := range in.accounts(ctx) {
		served[a] = true
	}
	ours := append([]string{in.d.cfg.Admin.User, in.d.cfg.Replication.User, "mariadb.sys", "root", "mysql"}, in.d.cfg.Known.Users...)
	for _, r := range rs {
		user := granteeUser(r["GRANTEE"])
		switch {
		case slices.Contains(ours, user) && (user != "root" || !served[user]):
		case served[user]:
			f.fail("revoke READ ONLY ADMIN from it (on old versions SUPER)", "account %s is in use and may write on a read-only server", r["GRANTEE"])
		default:
			f.warn("revoke READ ONLY ADMIN from it, if it is an application's", "account %s may write on a read-only server", r["GRANTEE"])
		}
	}
	f.pass("no account in use may write on a read-only server")
}

// accounts lists the accounts that the gateways serve, as far as they tell.
func (in *inspection) accounts(ctx context.Context) []string {
	var out []string
	for _, rep := range in.prepared(ctx).replies {
		for _, a := range rep.Accounts {
			out = append(out, a.User)
		}
	}
	return out
}

func granteeUser(g string) string {
	i := strings.LastIndex(g, "@")
	if i < 0 {
		i = len(g)
	}
	return strings.Trim(g[:i], "'`\"")
}

// sameAccounts: every account that is in use is on the elect with the same way of logging in (trap 22).
func (in *inspection) sameAccounts(ctx context.Context, f *finding) {
	sp, se := in.needPrimary(ctx, f), in.needElect(ctx, f)
	if sp == nil || se == nil {
		return
	}
	f.asked("the accounts' authentication, on both")
	old, err := sp.logins(ctx)
	if err != nil {
		f.unknown(err)
		return
	}
	now, err := se.logins(ctx)
	if err != nil {
		f.unknown(err)
		return
	}
	plugins, err := se.rows(ctx, "SELECT PLUGIN_NAME FROM information_schema.PLUGINS WHERE PLUGIN_STATUS='ACTIVE' AND PLUGIN_TYPE='AUTHENTICATION'")
	if err != nil {
		f.unknown(err)
		return
	}
	active := map[string]bool{}
	for _, p := range plugins {
		active[p["PLUGIN_NAME"]] = true
	}
	var own, ownThere string
	for s, into := range map[*session]*string{sp: &own, se: &ownThere} {
		if err := s.one(ctx, "SELECT CURRENT_USER()", into); err != nil {
			f.unknown(err)
			return
		}
	}
	if own != ownThere {
		own = ""
	}
	same := 0
	for name, login := range old {
		system := strings.HasPrefix(name, "mysql.") || strings.HasPrefix(name, "mariadb.sys") || strings.HasPrefix(name, "root@") || strings.HasPrefix(name, "PUBLIC@")
		there, has := now[name]
		switch {
		case system:
		case !has:
			f.fail("create the account on the elect", "account %s is not on %s", name, in.elect.place)
		case there.digest != login.digest && name == own:
			same++ // we have logged in on both with one password, and what is kept of it is salted
		case there.digest != login.digest && there.plugin == login.plugin && salted[there.plugin] && in.d.known(name):
			f.warn("see that it can log in there", "account %s of ours has another hash on %s, which may be of the same password: %s salts it", name, in.elect.place, there.plugin)
		case there.digest != login.digest:
			f.fail("give it the same password and plugin", "account %s logs in differently on %s (%s) and %s (%s)", name, in.primary.place, login.plugin, in.elect.place, there.plugin)
		case there.plugin != "" && !active[there.plugin]:
			f.fail("load the plugin there, or change the account's", "account %s needs plugin %s, which %s does not have", name, there.plugin, in.elect.place)
		default:
			same++
		}
	}
	f.pass("%d accounts are the same", same)
}

// salted are the plugins that keep another hash of the same password at each server where it is set. Copied accounts have the same one;
// our own are made by what makes the node.
var salted = map[string]bool{"caching_sha2_password": true, "sha256_password": true, "parsec": true}

// known tells whether user@host is of a user that may be connected to a primary beside the gateways, such as the gateways' monitor.
func (d *Driver) known(account string) bool {
	i := strings.LastIndexByte(account, '@')
	return i >= 0 && slices.Contains(d.cfg.Known.Users, account[:i])
}

// login is how an account logs in; digest changes with anything of it.
type login struct{ plugin, digest string }

func (s *session) logins(ctx context.Context) (map[string]login, error) {
	query := "SELECT CONCAT(User, '@', Host) AS name, JSON_VALUE(Priv, '$.plugin') AS plugin, SHA2(CONCAT_WS('|', JSON_VALUE(Priv, '$.plugin'), JSON_VALUE(Priv, '$.authentication_string'), JSON_QUERY(Priv, '$.auth_or'), JSON_VALUE(Priv, '$.account_locked')), 256) AS digest FROM mysql.global_priv WHERE COALESCE(JSON_VALUE(Priv, '$.is_role'), 'false') NOT IN ('true', '1')"
	if s.fl.name() == "mysql" {
		query = "SELECT CONCAT(User, '@', Host) AS name, plugin, SHA2(CONCAT_WS('|', plugin, authentication_string, account_locked), 256) AS digest FROM mysql.user"
	}
	rs, err := s.rows(ctx, query)
	if err != nil {
		return nil, err
	}
	out := map[string]login{}
	for _, r := range rs {
		out[r["name"]] = login{r["plugin"], r["digest"]}
	}
	return out, nil
}

// connections: the elect takes all sessions of the primary beside its own (trap 21).
func (in *inspection) connections(ctx context.Context, f *finding) {
	sp, se := in.needPrimary(ctx, f), in.needElect(ctx, f)
	if sp == nil || se == nil {
		return
	}
	f.asked("SHOW GLOBAL STATUS LIKE 'Threads_connected'; SELECT @@global.max_connections")
	counts := make([]int, 2)
	for i, s := range []*session{sp, se} {
		rs, err := s.rows(ctx, "SHOW GLOBAL STATUS LIKE 'Threads_connected'")
		if err == nil && len(rs) == 1 {
			counts[i], err = strconv.Atoi(rs[0]["Value"])
		}
		if err != nil || len(rs) != 1 {
			f.unknown(fmt.Errorf("%s: Threads_connected: %v", s.place, err))
			return
		}
	}
	limit, err := strconv.Atoi(in.elect.vars["max_connections"])
	if err != nil {
		f.unknown(err)
		return
	}
	const reserve = 10
	if need := counts[0] + counts[1] + reserve; need > limit {
		f.fail("raise max_connections there", "%s takes %d connections; %d are needed: %d of the primary, %d of its own, %d in reserve", in.elect.place, limit, need, counts[0], counts[1], reserve)
		return
	}
	f.pass("%s takes %d connections; the primary has %d, it has %d", in.elect.place, limit, counts[0], counts[1])
}
