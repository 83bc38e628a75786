package state

import (
	"errors"
	"strings"
	"testing"

	"github.com/windlass-db/windlass/internal/fleet"
)

// served is the fleet file of clusters that have a server and a gateway each, all of them at the addresses of their number.
func served(numbers map[string]string, order ...string) fleet.Fleet {
	f := fileOf(order...)
	for i := range f.Environments[0].Clusters {
		c := &f.Environments[0].Clusters[i]
		host := "10.9.9." + numbers[c.Name]
		c.Cells[0].Nodes = []fleet.Node{{Name: c.Name + "-1", Address: host + ":3306"}}
		c.Cells[0].Gateway.Address, c.Cells[0].Gateway.ReadOnly, c.Cells[0].Gateway.Admin = host+":4306", host+":4307", "http://"+host+":4101"
	}
	return f
}

// A cluster that was renamed in its file is not a second one over the same servers, unless the old one goes.
func TestOneServerIsInOneCluster(t *testing.T) {
	s, _, _ := world(t, 0)
	apply := func(f fleet.Fleet, prune bool) ([]string, error) {
		_, err := s.Apply(ctx, Change{Fleet: &f, Prune: prune, Who: "mira"})
		var unfit *Unfit
		if !errors.As(err, &unfit) {
			return nil, err
		}
		var all []string
		for _, one := range unfit.Fleet {
			all = append(all, one.Path+" "+one.Message+"; "+one.Hint)
		}
		return all, nil
	}
	fine := func(what string, f fleet.Fleet, prune bool) {
		t.Helper()
		if found, err := apply(f, prune); err != nil || len(found) > 0 {
			t.Errorf("%s: %q, %v", what, found, err)
		}
	}
	fine("first", served(map[string]string{"items": "1", "orders": "2"}, "items", "orders"), false)
	renamed := served(map[string]string{"items": "1", "orders2": "2"}, "items", "orders2")
	found, err := apply(renamed, false)
	if err != nil || len(found) != 4 || found[0] != "environments[0].clusters[1].cells[0].nodes[0].address the address 10.9.9.2:3306 of qa/orders2 is that of qa/orders already; if it is qa/orders by another name, forget the old one first (`windlass forget qa/orders --why …`), or apply with --prune" {
		t.Errorf("renamed: %q, %v", found, err)
	}
	for i, key := range []string{"nodes[0].address", "gateway.address", "gateway.read_only", "gateway.admin"} {
		if i < len(found) && !strings.HasPrefix(found[i], "environments[0].clusters[1].cells[0]."+key+" ") {
			t.Errorf("finding %d: %s", i, found[i])
		}
	}
	fine("renamed and pruned", renamed, true)
	fine("again", renamed, false)
	other := served(map[string]string{"copy": "2"}, "copy")
	other.Name = "other"
	if found, err = apply(other, true); err != nil || len(found) != 4 || !strings.Contains(found[0], "correct the file; or, if qa/orders2 is gone") {
		t.Errorf("another file: %q, %v", found, err)
	}
	fine("two change places", served(map[string]string{"items": "2", "orders2": "1"}, "items", "orders2"), false)
	one := served(map[string]string{"items": "1"}, "items")
	if found, err = apply(one, false); err != nil || len(found) != 4 {
		t.Errorf("a known cluster takes another's: %q, %v", found, err)
	}
	must(t, s.Forget(ctx, refs("orders2")[0], "mira", "gone"))
	fine("the other was forgotten", one, false)
}

// What an earlier release has let in stays, and can be changed.
func TestOneServerInTwoClusters_ofBefore(t *testing.T) {
	s, _, _ := world(t, 0)
	f := served(map[string]string{"a": "1", "b": "2"}, "a", "b")
	must(t, s.ApplyFleet(ctx, f, "mira"))
	_, err := s.write.Exec(`UPDATE clusters SET spec = REPLACE(spec, '10.9.9.2', '10.9.9.1'), declared = REPLACE(declared, '10.9.9.2', '10.9.9.1')`)
	must(t, err)
	f = served(map[string]string{"a": "1", "b": "1"}, "a", "b")
	must(t, s.ApplyFleet(ctx, f, "mira"))
	f.Environments[0].Clusters[1].Labels = map[string]string{"team": "checkout"}
	must(t, s.ApplyFleet(ctx, f, "mira"))
}
