package mysql

import (
	"context"
	"fmt"
	"time"
)

// collationPin: what "CHARACTER SET utf8mb4" means is the same on both versions. Else a table that is created on the new
// version gets another collation on the old one, and rows that differ on one are duplicates on the other.
func (in *inspection) collationPin(_ context.Context, f *finding) {
	f.asked("SELECT @@global." + pinned)
	if in.elect == nil {
		f.unknown(errNoElect)
		return
	}
	value, has := in.elect.vars[pinned]
	switch {
	case !has || len(in.reversePairs()) == 0:
		f.pass("no node is older than %s", in.elect.place)
	case value == "":
		f.pass("%s keeps the old version's default collations", in.elect.place)
	case in.primary == in.elect:
		f.fail("SET GLOBAL "+pinned+"='' there, and in its option file, until the way back is closed", "%s gives new tables other collations than the old version does", in.elect.place)
	default:
		f.warn("put "+pinned+"= into the option file of every node of the new version: a restart forgets what the switch sets", "the switch sets %s='' on %s", pinned, in.elect.place)
	}
}

// schemaDrift: every table has the same columns, types and collations on the primary and on the nodes that replicate from it.
func (in *inspection) schemaDrift(ctx context.Context, f *finding) {
	s := in.needPrimary(ctx, f)
	if s == nil {
		return
	}
	f.asked("information_schema.COLUMNS and TABLES, on both at one position")
	for _, v := range f.known(in.replicas) {
		if ch, _ := v.channel(); !ch.healthy() || !v.follows(in.primary.node.Address) {
			f.unknown(fmt.Errorf("%s does not replicate from the primary", v.place))
			continue
		}
		o := in.need(ctx, f, v)
		if o == nil {
			continue
		}
		diff, err := in.d.drift(ctx, s, o, max(in.maxLag, time.Second))
		switch {
		case err != nil:
			f.unknown(err)
		case len(diff) > 0:
			f.fail("find out when they began to differ; rebuild the node", "%s differs from the primary in %s", v.place, someOf(diff))
		default:
			f.pass("%s has the same tables", v.place)
		}
	}
}

// wayBackRisks: nothing is there that would stop replication to the old version.
func (in *inspection) wayBackRisks(ctx context.Context, f *finding) {
	newer := in.elect
	pairs := in.reversePairs()
	if newer == nil {
		f.unknown(errNoElect)
		return
	}
	f.asked("information_schema: types, collations, functions, sequences, parameters, accounts")
	if len(pairs) == 0 {
		f.pass("no node is older than %s", newer.place)
		return
	}
	s := in.need(ctx, f, newer)
	if s == nil {
		return
	}
	o := in.need(ctx, f, pairs[0])
	if o == nil {
		return
	}
	found, latent, err := in.d.risks(ctx, s, o)
	if err != nil {
		f.unknown(err)
	}
	in.found, in.latent = found, latent
	for _, r := range found {
		f.fail("take it out, or close the way back knowingly", "%s", r)
	}
	for _, r := range latent {
		f.warn("", "%s", r)
	}
	f.pass("nothing of %s was found that %s does not have", newer.version.series(), pairs[0].version.series())
}
