package state

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// fileOf is the fleet file f of the clusters named in qa, as world applies it.
func fileOf(names ...string) fleet.Fleet {
	env := fleet.Environment{Name: "qa"}
	for _, name := range names {
		env.Clusters = append(env.Clusters, fleet.Cluster{Name: name, Env: "qa", Product: "mariadb", Record: "x.", Cells: []fleet.Cell{{Name: "blue", Version: "10.11", Gateway: &fleet.Gateway{Name: name + "-gateway"}}}})
	}
	return fleet.Fleet{Name: "f", Environments: []fleet.Environment{env}}
}

// applied is a state to which that file, and a campaign over all of its clusters, were applied.
func applied(t *testing.T, names ...string) (*Store, Change) {
	t.Helper()
	s, _, _ := world(t, 0)
	f, c := fileOf(names...), campaign.Defaults()
	c.Name, c.Product, c.From, c.To, c.Environments, c.Schedule.Always = "up", "mariadb", "10.11", "11.8", []string{"qa"}, true
	ch := Change{Fleet: &f, Campaign: &c, Who: "mira"}
	out, err := s.Apply(ctx, ch)
	must(t, err)
	if got := fmt.Sprint(out.Fleet.Added, out.Campaign.What, out.Campaign.Clusters); got != fmt.Sprint(refs(names...), "added", len(names)) {
		t.Fatalf("applied: %s", got)
	}
	return s, ch
}

func refs(names ...string) (all []fleet.ClusterRef) {
	for _, n := range names {
		all = append(all, fleet.ClusterRef{Env: "qa", Name: n})
	}
	return all
}

var green = fleet.Cell{Name: "green", Version: "11.8", Owner: "up:qa/a", Nodes: []fleet.Node{{Name: "a-3", Address: "10.1.1.3:3306", UUID: "u3"}}, Gateway: &fleet.Gateway{Name: "a-gateway-2"}}

var stages = len(strategy.BlueGreen().Stages)

// stage brings the one cluster that is not held to the end of its next stage, and does with its cells what that stage does.
func stage(t *testing.T, s *Store, name string) {
	t.Helper()
	_, err := s.Launch(ctx, name, "", "me", next(1))
	must(t, err)
	a := lease(t, s, "qa-1")
	var o engine.Outputs
	switch a.Plan.Stage {
	case strategy.StageCreate:
		o.Cells = []fleet.Cell{green}
	case strategy.StageTearDown:
		o.RemoveCell = "blue"
	}
	must(t, wrote(s.Record(ctx, a.ActionID, a.Term, engine.StepRecord{Kind: a.Plan.Steps[0].Kind, Phase: engine.Done, Outputs: &o})))
	must(t, s.Finish(ctx, a.ActionID, a.Term, engine.Completed, "done"))
}

func cellNames(t *testing.T, s *Store, name string) string {
	t.Helper()
	c, err := s.Cluster(ctx, refs(name)[0])
	must(t, err)
	var all []string
	for _, cell := range c.Cells {
		all = append(all, cell.Name+" "+cell.Version)
	}
	return strings.Join(all, ", ")
}

// The same files can be applied at any time, before, during and after the campaign: nothing changes by it, nothing is told twice.
func TestTheSameFilesChangeNothing(t *testing.T) {
	s, ch := applied(t, "a")
	again := func(when, cells, status string, ahead int) {
		t.Helper()
		before, err := s.Events(ctx, EventFilter{})
		must(t, err)
		out, err := s.Apply(ctx, ch)
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		after, err := s.Events(ctx, EventFilter{})
		must(t, err)
		if len(out.Fleet.Changed) > 0 || len(out.Fleet.Ahead) != ahead || out.Campaign.What != "unchanged" || out.Campaign.Status != status || len(after) != len(before) || cellNames(t, s, "a") != cells {
			t.Errorf("%s: %+v %+v, %d events more, cells %s", when, *out.Fleet, *out.Campaign, len(after)-len(before), cellNames(t, s, "a"))
		}
	}
	again("before", "blue 10.11", "running", 0)
	_, err := s.Launch(ctx, "up", "", "me", next(1))
	must(t, err)
	again("while an action is queued", "blue 10.11", "running", 0)
	a := lease(t, s, "qa-1")
	must(t, wrote(s.Record(ctx, a.ActionID, a.Term, engine.StepRecord{Kind: a.Plan.Steps[0].Kind, Phase: engine.Intent, Outputs: &engine.Outputs{Cells: []fleet.Cell{green}}})))
	again("in the middle of create", "blue 10.11, green 11.8", "running", 1)
	must(t, s.Finish(ctx, a.ActionID, a.Term, engine.Completed, "done"))
	for range stages - 2 {
		again("between stages", "blue 10.11, green 11.8", "running", 1)
		stage(t, s, "up")
	}
	stage(t, s, "up")
	again("after the campaign", "green 11.8", "completed", 1)

	// The other way: what there is, exported in the middle of it or after it.
	fleets, err := s.Fleets(ctx)
	must(t, err)
	ch.Fleet = &fleets[0]
	again("exported", "green 11.8", "completed", 0)
}

// While a campaign has a cluster its cells, record and product are the campaign's; labels, and other clusters, are the file's. When it is
// done the file that says what there is may change it.
func TestACampaignHasItsClusters(t *testing.T) {
	s, ch := applied(t, "a", "b")
	stage(t, s, "up")
	change := func(do func(a, b *fleet.Cluster)) (Applied, error) {
		f := fileOf("a", "b")
		do(&f.Environments[0].Clusters[0], &f.Environments[0].Clusters[1])
		return s.Apply(ctx, Change{Fleet: &f, Campaign: ch.Campaign, Who: "mira"})
	}
	_, err := change(func(a, _ *fleet.Cluster) {
		a.Cells = append(a.Cells, fleet.Cell{Name: "red", Version: "11.8"})
		a.Record, a.Product = "y.", "mysql"
	})
	var unfit *Unfit
	if !errors.As(err, &unfit) || len(unfit.Fleet) != 3 || !errors.Is(err, ErrConflict) {
		t.Fatalf("changed in the middle of a campaign: %v", err)
	}
	for i, path := range []string{"cells", "record", "product"} {
		if f := unfit.Fleet[i]; f.Path != "environments[0].clusters[0]."+path || f.Message != "qa/a is in the middle of campaign up: its "+path+" can't be changed now" || f.Hint == "" {
			t.Errorf("%+v", f)
		}
	}
	out, err := change(func(a, b *fleet.Cluster) {
		a.Labels = map[string]string{"team": "checkout"}
		b.Record = "b."
	})
	must(t, err)
	if got := fmt.Sprint(out.Fleet.Changed); got != fmt.Sprint(refs("a", "b")) || cellNames(t, s, "a") != "blue 10.11, green 11.8" {
		t.Errorf("changed %s, cells %s", got, cellNames(t, s, "a"))
	}
	for range stages - 1 {
		stage(t, s, "up") // of a, which goes first
	}
	if cellNames(t, s, "a") != "green 11.8" {
		t.Fatalf("cells: %s", cellNames(t, s, "a"))
	}
	// It has arrived, though the campaign is not over: the file may change it.
	grown := green
	grown.Nodes = append(slices.Clone(grown.Nodes), fleet.Node{Name: "a-4", Address: "10.1.1.4:3306"})
	grown.Owner = ""
	if _, err = change(func(a, b *fleet.Cluster) { a.Cells, b.Record = []fleet.Cell{grown}, "b." }); err != nil {
		t.Fatal(err)
	}
	c, err := s.Cluster(ctx, refs("a")[0])
	must(t, err)
	if len(c.Cells) != 1 || len(c.Cells[0].Nodes) != 2 || c.Cells[0].Nodes[0].UUID != "u3" || c.Cells[0].Owner != green.Owner {
		t.Errorf("a server more: %+v", c.Cells)
	}
	// The cell that was torn down is changed by a file that does not know it.
	_, err = change(func(a, b *fleet.Cluster) {
		a.Cells, b.Record = []fleet.Cell{{Name: "blue", Version: "10.12"}, grown}, "b."
	})
	if err != nil || cellNames(t, s, "a") != "green 11.8, blue 10.12" {
		t.Errorf("a cell of the name is new again: %v, %s", err, cellNames(t, s, "a"))
	}
}

// All that is wrong with both files is told at once, and nothing of either is applied.
func TestFleetAndCampaignAreApplied_orNothing(t *testing.T) {
	s, ch := applied(t, "a")
	stage(t, s, "up")
	f, c := fileOf("a", "b"), *ch.Campaign
	f.Environments[0].Clusters[0].Record = "y."
	c.Name, c.From, c.Environments = "other", "10.6", []string{"qa", "prod"}
	_, err := s.Apply(ctx, Change{Fleet: &f, Campaign: &c, Who: "mira"})
	var unfit *Unfit
	if !errors.As(err, &unfit) || len(unfit.Fleet) != 1 || len(unfit.Campaign) != 3 {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{"the fleet can't be applied:", "environments[0].clusters[0].record", "campaign other does not fit the fleet:", "environments[1]", "qa/b (10.11)"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in: %v", part, err)
		}
	}
	// A campaign that is refused takes the fleet beside it along: b is in no inventory.
	f = fileOf("a", "b")
	c = *ch.Campaign
	c.To = "12.3"
	if _, err := s.Apply(ctx, Change{Fleet: &f, Campaign: &c, Who: "mira"}); !errors.Is(err, ErrConflict) {
		t.Errorf("a campaign that becomes another: %v", err)
	}
	if _, err := s.Cluster(ctx, refs("b")[0]); !errors.Is(err, ErrNotFound) {
		t.Errorf("the fleet was applied without its campaign: %v", err)
	}
	// And a dry run says all and does nothing.
	out, err := s.Apply(ctx, Change{Fleet: &f, Campaign: ch.Campaign, DryRun: true, Who: "mira"})
	must(t, err)
	if fmt.Sprint(out.Fleet.Added) != fmt.Sprint(refs("b")) || out.Campaign.What != "changed" || !out.DryRun {
		t.Errorf("a dry run: %+v %+v", out.Fleet, out.Campaign)
	}
	if _, err := s.Cluster(ctx, refs("b")[0]); !errors.Is(err, ErrNotFound) {
		t.Errorf("the dry run was none: %v", err)
	}
}

// A cluster that the file names no more stays until it is pruned, never silently; and only those of this fleet's file are.
func TestPrune(t *testing.T) {
	s, ch := applied(t, "a", "b", "c")
	other := fileOf("z")
	other.Name = "other"
	_, err := s.Apply(ctx, Change{Fleet: &other, Who: "mira"})
	must(t, err)
	f := fileOf("a")
	out, err := s.Apply(ctx, Change{Fleet: &f, Who: "mira"})
	must(t, err)
	if got := fmt.Sprint(out.Fleet.Absent, out.Fleet.Pruned); got != fmt.Sprint(refs("b", "c"), []fleet.ClusterRef(nil)) {
		t.Errorf("absent and pruned: %s", got)
	}
	_, err = s.Apply(ctx, Change{Fleet: &f, Prune: true, Who: "mira"})
	var unfit *Unfit
	if !errors.As(err, &unfit) || len(unfit.Fleet) != 2 || !strings.Contains(err.Error(), "qa/c can't be pruned: campaign up has qa/c") {
		t.Errorf("pruned out of a campaign: %v", err)
	}
	// Together with the campaign, which then does not select them any more, they go.
	out, err = s.Apply(ctx, Change{Fleet: &f, Campaign: ch.Campaign, Prune: true, Who: "mira"})
	must(t, err)
	all, err := s.Clusters(ctx, "")
	must(t, err)
	if got := fmt.Sprint(out.Fleet.Pruned, len(all), all[0].Name, all[1].Name); got != fmt.Sprint(refs("b", "c"), 2, "a", "z") {
		t.Errorf("pruned, left: %s", got)
	}
	// One that comes back has its old term, or all would be fenced.
	must(t, bump(s, "b", 41))
	back := fileOf("a", "b")
	_, err = s.Apply(ctx, Change{Fleet: &back, Campaign: ch.Campaign, Who: "mira"})
	must(t, err)
	_, err = s.Launch(ctx, "up", "", "me", next(9))
	must(t, err)
	for range 2 {
		if a := lease(t, s, "h"); a.Cluster.Name == "b" && a.Term != 42 {
			t.Errorf("the term of a cluster that came back is %d", a.Term)
		}
	}
}

func bump(s *Store, name string, term int) error {
	_, err := s.write.Exec(`UPDATE clusters SET term = $1 WHERE name = $2`, term, name)
	return err
}

// A cluster is forgotten only when nobody has it; then nobody observes it, selects it or rolls it back, and what happened to it is
// still there.
func TestForget(t *testing.T) {
	s, ch := applied(t, "a", "b")
	a, b := refs("a")[0], refs("b")[0]
	refused := func(when string, ref fleet.ClusterRef, what string) {
		t.Helper()
		err := s.Forget(ctx, ref, "mira", "gone")
		var r *Refused
		if !errors.As(err, &r) || !strings.Contains(r.What, what) || r.Hint == "" {
			t.Errorf("%s: %v", when, err)
		}
	}
	refused("before it begins", b, "campaign up has qa/b")
	_, err := s.Launch(ctx, "up", "", "me", next(1))
	must(t, err)
	refused("while an action works", a, "an action of campaign up works on qa/a")
	must(t, s.Finish(ctx, lease(t, s, "h").ActionID, 1, engine.Completed, ""))
	refused("in the middle", a, "to the end of create")
	for range stages - 1 {
		stage(t, s, "up")
	}
	must(t, s.Observe(ctx, a, fleet.Observation{At: s.Now()}))
	must(t, s.Forget(ctx, a, "mira", "it moved away"))
	if err := s.Forget(ctx, a, "mira", "again"); !errors.Is(err, ErrNotFound) {
		t.Errorf("forgotten twice: %v", err)
	}
	if err := s.Observe(ctx, a, fleet.Observation{At: s.Now()}); !errors.Is(err, ErrNotFound) {
		t.Errorf("an observation of it: %v", err)
	}
	if c, at, err := s.Forgotten(ctx, a); err != nil || c.Name != "a" || !at.Equal(s.Now()) {
		t.Errorf("what it was: %+v, %s, %v", c, at, err)
	}
	actions, err := s.Actions(ctx, a, 10)
	must(t, err)
	events, err := s.Events(ctx, EventFilter{Ref: a})
	must(t, err)
	if last := events[len(events)-1]; len(actions) != stages || last.Kind != "cluster-forgotten" || last.Who != "mira" || last.Message != "it moved away" {
		t.Errorf("%d actions, last event %+v", len(actions), last)
	}
	// The campaign goes on to its end without it.
	left := fileOf("b")
	_, err = s.Apply(ctx, Change{Fleet: &left, Campaign: ch.Campaign, Who: "mira"})
	must(t, err)
	for range stages {
		stage(t, s, "up")
	}
	if all, err := s.Campaigns(ctx); err != nil || !slices.ContainsFunc(all, func(i CampaignInfo) bool { return i.Campaign.Name == "up" && i.Status == "completed" }) {
		t.Errorf("%+v, %v", all, err)
	}
}

// What campaigns made before the inventory kept what files say is not undone by the first file that comes.
func TestAStateThatDidNotKeepTheFile(t *testing.T) {
	s, _ := applied(t, "a", "b")
	for range stages {
		stage(t, s, "up")
	}
	_, err := s.write.Exec(`UPDATE clusters SET declared = NULL, fleet = '', spec = REPLACE(spec, '"owner":"up:qa/a",', '')`)
	must(t, err)
	f := fileOf("a", "b")
	f.Environments[0].Clusters[1].Cells[0].Version = "10.11.9" // that nobody has been at is the file's
	_, err = s.Apply(ctx, Change{Fleet: &f, Who: "mira"})
	must(t, err)
	if got := cellNames(t, s, "a") + "; " + cellNames(t, s, "b"); got != "green 11.8; blue 10.11.9" {
		t.Errorf("cells: %s", got)
	}
}
