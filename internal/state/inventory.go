package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// inventory is every cluster that is known, of one moment.
type inventory struct {
	rows  map[fleet.ClusterRef]*inventoryRow
	order []fleet.ClusterRef // by environment and name
	found []config.Finding   // what keeps a file from being laid over it
}

type inventoryRow struct {
	now      fleet.Cluster
	declared *fleet.Cluster // as the file said it; nil: a release wrote the row that did not keep it
	fleet    string
	busy     string // who has it, so that no file may change it: a campaign's name; "" if nobody
	touched  bool   // a campaign has been at it
	put      bool   // it is to be written
}

func readInventory(ctx context.Context, tx *sql.Tx) (*inventory, error) {
	inv := &inventory{rows: map[fleet.ClusterRef]*inventoryRow{}}
	all, err := rows(ctx, tx, func(r *sql.Rows) (row inventoryRow, err error) {
		var spec string
		var declared sql.NullString
		if err := r.Scan(&spec, &declared, &row.fleet); err != nil {
			return row, err
		}
		if row.declared, err = optional[fleet.Cluster](declared); err != nil {
			return row, err
		}
		row.now, err = decode[fleet.Cluster](spec)
		return row, err
	}, `SELECT spec, declared, fleet FROM clusters WHERE forgotten_at = 0 ORDER BY env, name`)
	if err != nil {
		return nil, err
	}
	for i := range all {
		ref := all[i].now.Ref()
		inv.rows[ref] = &all[i]
		inv.order = append(inv.order, ref)
	}
	places, err := readPlaces(ctx, tx, nil)
	if err != nil {
		return nil, err
	}
	for _, p := range places {
		row := inv.rows[p.ref]
		if row == nil {
			continue
		}
		row.touched = row.touched || p.stage != "" || p.live
		if p.live || p.open() && p.stage != "" && !p.arrived() {
			row.busy = p.campaign
		}
	}
	return inv, nil
}

// place is where a cluster is in one campaign.
type place struct {
	campaign, status, strategy string
	ref                        fleet.ClusterRef
	stage                      string
	live                       bool // an action of it lives
}

func (p place) open() bool {
	return p.status == campaign.StatusRunning || p.status == campaign.StatusPaused
}

func (p place) arrived() bool {
	st, ok := strategy.ByName(p.strategy)
	return ok && len(st.Stages) > 0 && st.Stages[len(st.Stages)-1].Name == p.stage
}

// readPlaces reads the places of one cluster, or of all.
func readPlaces(ctx context.Context, tx *sql.Tx, of *fleet.ClusterRef) ([]place, error) {
	names, err := rows(ctx, tx, func(r *sql.Rows) (i CampaignInfo, err error) {
		var spec string
		if err := r.Scan(&spec, &i.Status); err != nil {
			return i, err
		}
		i.Campaign, err = decode[campaign.Campaign](spec)
		return i, err
	}, `SELECT spec, status FROM campaigns`)
	if err != nil {
		return nil, err
	}
	known := map[string]CampaignInfo{}
	for _, i := range names {
		known[i.Campaign.Name] = i
	}
	var env, name string
	if of != nil {
		env, name = of.Env, of.Name
	}
	return rows(ctx, tx, func(r *sql.Rows) (p place, err error) {
		err = r.Scan(&p.campaign, &p.ref.Env, &p.ref.Name, &p.stage, &p.live)
		p.status, p.strategy = known[p.campaign].Status, known[p.campaign].Campaign.Strategy
		return p, err
	}, `SELECT p.campaign, p.env, p.cluster, p.stage, a.id IS NOT NULL FROM progress p
		LEFT JOIN actions a ON a.env = p.env AND a.cluster = p.cluster AND a.campaign = p.campaign AND a.ended_at = 0
		WHERE $1 = '' OR (p.env = $1 AND p.cluster = $2)`, env, name)
}

// lay lays a file over the inventory. It notes what is to be written, and everything that can't be.
func (inv *inventory) lay(f fleet.Fleet, prune bool) *FleetApplied {
	out := &FleetApplied{Name: f.Name}
	named := map[fleet.ClusterRef]bool{}
	var all []laid
	for i, e := range f.Environments {
		for j, c := range e.Clusters {
			out.Clusters++
			ref := c.Ref()
			named[ref] = true
			row := inv.rows[ref]
			path := fmt.Sprintf("environments[%d].clusters[%d]", i, j)
			if row == nil {
				all = append(all, laid{path: path, file: c})
				inv.rows[ref] = &inventoryRow{now: c, declared: &c, fleet: f.Name, put: true}
				inv.order = append(inv.order, ref)
				out.Added = append(out.Added, ref)
				continue
			}
			merged, found := row.merge(c)
			for _, one := range found {
				one.Path = strings.TrimSuffix(path+"."+one.Path, ".")
				inv.found = append(inv.found, one)
			}
			if len(found) > 0 {
				continue
			}
			if !reflect.DeepEqual(sorted(merged.Cells), sorted(withIdentity(c, merged).Cells)) {
				out.Ahead = append(out.Ahead, ref)
			}
			changed := text(merged) != text(row.now)
			if changed {
				out.Changed = append(out.Changed, ref)
			}
			all = append(all, laid{path: path, file: c, before: row.now})
			row.put = changed || row.fleet != f.Name || row.declared == nil || text(*row.declared) != text(c)
			row.now, row.declared, row.fleet = merged, &c, f.Name
		}
	}
	inv.order = slices.DeleteFunc(inv.order, func(ref fleet.ClusterRef) bool {
		switch {
		case named[ref] || inv.rows[ref].fleet != f.Name:
			return false
		case !prune:
			out.Absent = append(out.Absent, ref)
			return false
		}
		out.Pruned = append(out.Pruned, ref)
		return true
	})
	inv.found = append(inv.found, inv.twice(all, *out)...)
	return out
}

// merge is what becomes of the cluster by the file's word.
func (row *inventoryRow) merge(file fleet.Cluster) (fleet.Cluster, []config.Finding) {
	declared := row.declared
	if declared == nil { // of a release that did not keep it: what campaigns made is newer than the file, anything else is not
		declared = &row.now
		if row.touched || slices.ContainsFunc(row.now.Cells, func(cell fleet.Cell) bool { _, named := file.Cell(cell.Name); return !named && cell.Owner != "" }) {
			declared = &file
		}
	}
	merged, found := fleet.Merge(*declared, row.now, file)
	if row.busy == "" {
		return merged, found
	}
	const hint = "leave it as it is in the file, or as `windlass fleet export` prints it, until the campaign is done with the cluster"
	var own []config.Finding
	for _, x := range []struct {
		path string
		same bool
	}{
		{"cells", len(found) == 0 && text(merged.Cells) == text(row.now.Cells)},
		{"record", file.Record == row.now.Record},
		{"product", file.Product == row.now.Product},
	} {
		if !x.same {
			own = append(own, config.Finding{Path: x.path, Code: config.CodeContradiction, Message: fmt.Sprintf("%s is in the middle of campaign %s: its %s can't be changed now", row.now.Ref(), row.busy, x.path), Hint: hint})
		}
	}
	return merged, own
}

// withIdentity is the file's cluster with what a file can't say, as the other knows it.
func withIdentity(c, known fleet.Cluster) fleet.Cluster {
	c.Cells = slices.Clone(c.Cells)
	for i, cell := range c.Cells {
		other, _ := known.Cell(cell.Name)
		c.Cells[i].Nodes = slices.Clone(cell.Nodes)
		if cell.Owner == "" {
			c.Cells[i].Owner = other.Owner
		}
		for j, n := range cell.Nodes {
			for _, o := range other.Nodes {
				if o.Name == n.Name {
					c.Cells[i].Nodes[j].UUID = o.UUID
				}
			}
		}
	}
	return c
}

// sorted is the cells and their nodes by name: in which order a file tells of them means nothing.
func sorted(cells []fleet.Cell) []fleet.Cell {
	out := slices.Clone(cells)
	for i := range out {
		out[i].Nodes = slices.SortedFunc(slices.Values(out[i].Nodes), func(a, b fleet.Node) int { return strings.Compare(a.Name, b.Name) })
	}
	slices.SortFunc(out, func(a, b fleet.Cell) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// fleet is the whole inventory as one fleet. The environments and clusters of the file that was laid over it come first, in its order.
func (inv *inventory) fleet(file *fleet.Fleet) fleet.Fleet {
	f := fleet.Fleet{Name: "that the server knows"}
	at := map[string]int{}
	have := map[fleet.ClusterRef]bool{}
	add := func(ref fleet.ClusterRef) {
		if have[ref] {
			return
		}
		have[ref] = true
		i, ok := at[ref.Env]
		if !ok {
			i = len(f.Environments)
			at[ref.Env] = i
			f.Environments = append(f.Environments, fleet.Environment{Name: ref.Env})
		}
		f.Environments[i].Clusters = append(f.Environments[i].Clusters, inv.rows[ref].now)
	}
	if file != nil {
		f.Name = file.Name
		for _, e := range file.Environments {
			for _, c := range e.Clusters {
				add(c.Ref())
			}
		}
	}
	for _, ref := range inv.order {
		add(ref)
	}
	return f
}

// putFleet writes what lay has noted. A file that changes nothing is no transition.
func (s *Store) putFleet(ctx context.Context, tx *sql.Tx, inv *inventory, a FleetApplied, who string) error {
	var put [][]any
	for _, ref := range inv.order {
		if row := inv.rows[ref]; row.put {
			put = append(put, []any{ref.Env, ref.Name, text(row.now), text(*row.declared), row.fleet})
		}
	}
	if _, err := s.putMany(ctx, tx, `INSERT INTO clusters (env, name, spec, declared, fleet)`,
		`ON CONFLICT (env, name) DO UPDATE SET spec = excluded.spec, declared = excluded.declared, fleet = excluded.fleet, forgotten_at = 0`, put); err != nil {
		return err
	}
	if len(a.Added)+len(a.Changed)+len(a.Pruned) == 0 {
		return nil
	}
	return s.event(ctx, tx, Event{Kind: "fleet-applied", Who: who, Message: fmt.Sprintf("fleet %s: %d clusters, of them %d new and %d changed; %d forgotten", a.Name, a.Clusters, len(a.Added), len(a.Changed), len(a.Pruned))})
}

// Forget takes a cluster out of the inventory: nobody observes it any more, and no campaign can select it. What has happened to it stays
// readable. It is refused while an action or a campaign that is not over has it. A file that names it brings it back.
func (s *Store) Forget(ctx context.Context, ref fleet.ClusterRef, who, why string) error {
	return s.update(ctx, func(tx *sql.Tx) error { return s.forget(ctx, tx, ref, who, why) })
}

func (s *Store) forget(ctx context.Context, tx *sql.Tx, ref fleet.ClusterRef, who, why string) error {
	places, err := readPlaces(ctx, tx, &ref)
	if err != nil {
		return err
	}
	for _, p := range places {
		switch {
		case p.live:
			return &Refused{fmt.Sprintf("an action of campaign %s works on %s", p.campaign, ref), "wait until it has ended, or abort it; then forget the cluster"}
		case !p.open() || p.arrived():
		case p.stage == "":
			return &Refused{fmt.Sprintf("campaign %s has %s", p.campaign, ref), "exclude the cluster there and apply the campaign, or wait until it is over; then forget the cluster"}
		default:
			return &Refused{fmt.Sprintf("campaign %s has %s, and has brought it to the end of %s", p.campaign, ref, p.stage), "let the campaign finish it, roll it back, or abort the campaign; then forget the cluster"}
		}
	}
	// The row stays for its term: were the cluster to come back with a lower one, everything would be fenced.
	res, err := tx.ExecContext(ctx, `UPDATE clusters SET forgotten_at = $1, declared = NULL, fleet = '', mend_until = 0, mend_error = '', shut_since = 0, shut_told = 0 WHERE env = $2 AND name = $3 AND forgotten_at = 0`, micros(s.Now()), ref.Env, ref.Name)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, fmt.Errorf("cluster %s: %w", ref, ErrNotFound))
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM observations WHERE env = $1 AND cluster = $2`, ref.Env, ref.Name); err != nil {
		return err
	}
	return s.event(ctx, tx, Event{Kind: "cluster-forgotten", Ref: ref, Who: who, Message: why})
}

// Fleets are the fleets that files have told of, as they are now: with what campaigns have made of them. Clusters whose file is not known
// are in the one without a name.
func (s *Store) Fleets(ctx context.Context) (all []fleet.Fleet, err error) {
	err = s.view(ctx, func(tx *sql.Tx) error {
		inv, err := readInventory(ctx, tx)
		if err != nil {
			return err
		}
		all = nil
		for _, ref := range inv.order {
			row := inv.rows[ref]
			i := slices.IndexFunc(all, func(f fleet.Fleet) bool { return f.Name == row.fleet })
			if i < 0 {
				i = len(all)
				all = append(all, fleet.Fleet{Name: row.fleet})
			}
			f := &all[i]
			if n := len(f.Environments); n == 0 || f.Environments[n-1].Name != ref.Env { // they come by environment
				f.Environments = append(f.Environments, fleet.Environment{Name: ref.Env})
			}
			e := &f.Environments[len(f.Environments)-1]
			e.Clusters = append(e.Clusters, row.now)
		}
		slices.SortStableFunc(all, func(a, b fleet.Fleet) int { return strings.Compare(a.Name, b.Name) })
		return addSeen(ctx, tx, all)
	})
	return all, err
}

// addSeen says of which engines nodes were last seen on other versions than the inventory has.
func addSeen(ctx context.Context, tx *sql.Tx, all []fleet.Fleet) error {
	type seen struct {
		ref     fleet.ClusterRef
		version string
		at      int64
	}
	looks, err := rows(ctx, tx, func(r *sql.Rows) (o seen, err error) { return o, r.Scan(&o.ref.Env, &o.ref.Name, &o.version, &o.at) },
		`SELECT env, cluster, version, version_at FROM observations WHERE version <> ''`)
	if err != nil {
		return err
	}
	by := make(map[fleet.ClusterRef]seen, len(looks))
	for _, o := range looks {
		by[o.ref] = o
	}
	for i := range all {
		for _, e := range all[i].Environments {
			for _, c := range e.Clusters {
				if o, ok := by[c.Ref()]; ok && !c.Database() && len(c.Cells) == 1 && !fleet.HasVersion(o.version, c.Cells[0].Version) {
					all[i].Seen = append(all[i].Seen, fmt.Sprintf("%s: the inventory says %s, and at %s its nodes were seen on %s; an upgrade changes it when it ends, by opening its features",
						c.Ref(), c.Cells[0].Version, fromMicros(o.at).UTC().Format(time.RFC3339), strings.TrimPrefix(o.version, "mixed: ")))
				}
			}
		}
	}
	return nil
}

func putCluster(ctx context.Context, tx *sql.Tx, c fleet.Cluster) error {
	_, err := tx.ExecContext(ctx, `UPDATE clusters SET spec = $1 WHERE env = $2 AND name = $3`, text(c), c.Env, c.Name)
	return err
}

// cluster reads a cluster that is not forgotten.
func cluster(ctx context.Context, tx *sql.Tx, ref fleet.ClusterRef) (fleet.Cluster, error) {
	var spec string
	err := tx.QueryRowContext(ctx, `SELECT spec FROM clusters WHERE env = $1 AND name = $2 AND forgotten_at = 0`, ref.Env, ref.Name).Scan(&spec)
	if errors.Is(err, sql.ErrNoRows) {
		return fleet.Cluster{}, fmt.Errorf("cluster %s: %w", ref, ErrNotFound)
	}
	if err != nil {
		return fleet.Cluster{}, err
	}
	return decode[fleet.Cluster](spec)
}

func clusters(ctx context.Context, tx *sql.Tx, env string) ([]fleet.Cluster, error) {
	return rows(ctx, tx, func(r *sql.Rows) (fleet.Cluster, error) {
		var spec string
		if err := r.Scan(&spec); err != nil {
			return fleet.Cluster{}, err
		}
		return decode[fleet.Cluster](spec)
	}, `SELECT spec FROM clusters WHERE ($1 = '' OR env = $1) AND forgotten_at = 0 ORDER BY env, name`, env)
}

// Clusters lists the clusters of an environment, or of all.
func (s *Store) Clusters(ctx context.Context, env string) (all []fleet.Cluster, err error) {
	err = s.view(ctx, func(tx *sql.Tx) error {
		all, err = clusters(ctx, tx, env)
		return err
	})
	return all, err
}

// Cluster reads one cluster; ErrNotFound if there is none, or it was forgotten.
func (s *Store) Cluster(ctx context.Context, ref fleet.ClusterRef) (c fleet.Cluster, err error) {
	err = s.view(ctx, func(tx *sql.Tx) error {
		c, err = cluster(ctx, tx, ref)
		return err
	})
	return c, err
}

// Forgotten reads a cluster that was forgotten, as it was last known; ErrNotFound if there never was one.
func (s *Store) Forgotten(ctx context.Context, ref fleet.ClusterRef) (c fleet.Cluster, at time.Time, err error) {
	var spec string
	var when int64
	err = s.read.QueryRowContext(ctx, `SELECT spec, forgotten_at FROM clusters WHERE env = $1 AND name = $2 AND forgotten_at > 0`, ref.Env, ref.Name).Scan(&spec, &when)
	if errors.Is(err, sql.ErrNoRows) {
		return c, at, fmt.Errorf("cluster %s: %w", ref, ErrNotFound)
	}
	if err != nil {
		return c, at, err
	}
	c, err = decode[fleet.Cluster](spec)
	return c, fromMicros(when), err
}
