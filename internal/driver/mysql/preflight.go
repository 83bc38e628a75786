package mysql

import (
	"context"
	"fmt"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/switchover"
)

// preflight is every safety rule, in the order in which they are shown.
var preflight = []namedCheck{
	{"nodes-reachable", (*inspection).nodesReachable},
	{"one-primary", (*inspection).onePrimary},
	{"elect", (*inspection).electFit},
	{"identity", (*inspection).identity},
	{"versions", (*inspection).versions},
	{"last-switch", (*inspection).lastSwitch},
	{"hold-budget", (*inspection).holdBudget},

	{"replication-running", (*inspection).replicationRunning},
	{"replica-lag", (*inspection).replicaLag},
	{"errant-gtid", (*inspection).errantGTID},
	{"gtid-ready", (*inspection).gtidReady},
	{"binlog-format", (*inspection).binlogFormat},
	{"skip-counter", (*inspection).skipCounter},
	{"replication-filters", (*inspection).replicationFilters},
	{"replica-retries", (*inspection).replicaRetries},
	{"external-replicas", (*inspection).externalReplicas},

	{"green-read-only", (*inspection).readOnlyElsewhere},
	{"boot-read-only", (*inspection).bootReadOnly},
	{"bypass-accounts", (*inspection).bypassAccounts},
	{"events", (*inspection).events},
	{"durability", (*inspection).durability},
	{"semi-sync", (*inspection).semisyncRoles},

	{"long-transactions", (*inspection).longTransactions},
	{"long-statements", (*inspection).longStatements},
	{"xa-prepared", (*inspection).xaPrepared},
	{"unknown-clients", (*inspection).unknownClients},

	{"same-accounts", (*inspection).sameAccounts},
	{"connections", (*inspection).connections},
	{"gateways", (*inspection).gateways},
	{"gateway-prepare", (*inspection).gatewayPrepare},

	{"collation-pin", (*inspection).collationPin},
	{"schema-drift", (*inspection).schemaDrift},
	{"way-back-risks", (*inspection).wayBackRisks},
}

// CheckNames lists the names of the preflight's checks, in order.
func CheckNames() []string {
	out := make([]string, len(preflight))
	for i, c := range preflight {
		out[i] = c.name
	}
	return out
}

// Preflight looks at every safety rule and changes nothing. Where a switch to that place was broken off, and its own notes say so, there is
// nothing to be checked before it: it has to be completed.
func (d *Driver) Preflight(ctx context.Context, req switchover.Request) (check.Results, error) {
	sc := d.look(ctx, req.Cluster)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if where, v, err := sc.decide(aim(req)); err == nil && where != fromBegin && v.standing != nil && v.standing.Role != isReplica && (v.writable() || v.standing.Role != isPrimary) {
		return check.Results{check.Passed("one-primary", fmt.Sprintf("%s is %s by switch %s, which was broken off: it is completed", v.place, v.standing.Role, v.standing.Switch), d.cfg.Now())}, nil
	}
	in := &inspection{d: d, sc: sc, req: req, maxLag: d.budgetOf(req.Settings).maxLag}
	if w := sc.writable(); len(w) == 1 {
		in.primary = w[0]
	}
	for _, v := range sc.views {
		if v != in.primary {
			in.replicas = append(in.replicas, v)
		}
	}
	in.elect, _ = sc.electOf(in.primary, aim(req), req.ID)
	in.gs, in.gsErr = d.gates(req.Cluster)
	return in.run(ctx, preflight), nil
}
