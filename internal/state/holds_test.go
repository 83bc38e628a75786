package state

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/fleet"
)

// holding decides by a table: the code that holds each cluster, "" for a start of its next stage.
func holding(codes map[string]string) DecideFunc {
	return func(s campaign.Snapshot, _ time.Time) (all []campaign.Decision) {
		for _, p := range s.Clusters {
			d := campaign.Decision{Ref: p.Ref}
			switch code := codes[p.Ref.Name]; {
			case p.Action != nil:
				d.Hold = &campaign.Hold{Next: "create", Reasons: []campaign.Reason{{Code: campaign.CodeRunning, Message: "it runs"}}}
			case code == "":
				d.Start = "create"
			default:
				d.Hold = &campaign.Hold{Next: "create", Reasons: []campaign.Reason{{Code: code, Message: code + " of " + p.Ref.Name, Release: "a person says so"}}}
			}
			all = append(all, d)
		}
		return all
	}
}

// holdEvents are the events of holds after a number, as "kind env/cluster code…".
func holdEvents(t *testing.T, s *Store, after int64) (all []Event, last int64) {
	t.Helper()
	events, err := s.Events(ctx, EventFilter{After: after, Limit: 100000})
	must(t, err)
	for _, e := range events {
		if e.Kind == "held" || e.Kind == "hold-over" {
			all = append(all, e)
		}
		after = e.Seq
	}
	return all, after
}

// A hold that needs a person is one event for all clusters that it holds, at the first look that sees it and at no later one; a launch is such a look.
// When it is over, that is said, but not of a cluster that starts.
func TestHoldsAreToldOnce(t *testing.T) {
	s, c, path := world(t, 6)
	codes := map[string]string{"c00": campaign.CodeLimit, "c01": campaign.CodeOrder, "c02": campaign.CodeApproval, "c03": campaign.CodeApproval, "c04": campaign.CodeApproval, "c05": campaign.CodeApproval}
	_, last := holdEvents(t, s, 0)
	_, err := s.Launch(ctx, "c", "", "me", holding(codes))
	must(t, err)
	all, last := holdEvents(t, s, last)
	if len(all) != 1 || all[0].Kind != "held" || !all[0].Loud || all[0].Ref != (fleet.ClusterRef{Env: "qa"}) || all[0].Stage != "create" || all[0].Campaign != "c" ||
		all[0].Message != "4 clusters: c02, c03, c04 and 1 more: approval: approval of c02. Released by, for c02: a person says so" {
		t.Fatalf("%+v", all)
	}
	for range 3 { // by the launcher's looks, by more launches, and after a restart
		c.add(time.Minute)
		must(t, s.TellHolds(ctx, "c", holding(codes)))
		_, err := s.Launch(ctx, "c", "", "me", holding(codes))
		must(t, err)
		must(t, openAt(t, path, c).TellHolds(ctx, "c", holding(codes)))
	}
	if all, last = holdEvents(t, s, last); len(all) != 0 {
		t.Fatalf("told again: %+v", all)
	}
	// Of four one starts, one waits for a limit now, one has another reason, one has the same.
	codes["c02"], codes["c03"], codes["c04"] = "", campaign.CodeLimit, campaign.CodeBudget
	_, err = s.Launch(ctx, "c", "", "me", holding(codes))
	must(t, err)
	all, last = holdEvents(t, s, last)
	if len(all) != 2 || all[0].Ref.Name != "c04" || all[0].Message != "budget: budget of c04. Released by: a person says so" ||
		all[1].Kind != "hold-over" || all[1].Loud || all[1].Ref.Name != "c03" || all[1].Message != "approval holds it no more; now limit: limit of c03" {
		t.Fatalf("%+v", all)
	}
	must(t, s.TellHolds(ctx, "c", holding(codes)))
	if all, _ = holdEvents(t, s, last); len(all) != 0 {
		t.Fatalf("told again: %+v", all)
	}
}

// What one failed look makes is no news; what lasts is, once in an hour, however often it comes and goes.
func TestAFlappingHoldIsToldRarely(t *testing.T) {
	s, c, _ := world(t, 1)
	_, last := holdEvents(t, s, 0)
	told := 0
	for i := range 4 * 60 { // a look every 15 s, for an hour
		codes := map[string]string{"c00": campaign.CodeUnknown}
		if i%8 >= 6 { // unknown for 90 s, then well for 30 s
			codes["c00"] = campaign.CodeLimit
		}
		must(t, s.TellHolds(ctx, "c", holding(codes)))
		c.add(15 * time.Second)
		var all []Event
		all, last = holdEvents(t, s, last)
		for _, e := range all {
			if e.Kind == "held" {
				told++
				if i < 4 {
					t.Errorf("told at look %d: one look is no news", i)
				}
			}
		}
	}
	if told != 1 {
		t.Errorf("told %d times in an hour", told)
	}
	c.add(2 * time.Minute)
	must(t, s.TellHolds(ctx, "c", holding(map[string]string{"c00": campaign.CodeUnknown})))
	c.add(2 * time.Minute)
	must(t, s.TellHolds(ctx, "c", holding(map[string]string{"c00": campaign.CodeUnknown})))
	if all, _ := holdEvents(t, s, last); len(all) != 1 || all[0].Kind != "held" {
		t.Errorf("after an hour: %+v", all)
	}
}

// A cluster that goes to and fro between two reasons is told of each once in an hour; clusters that do so by turns are gathered.
func TestHoldsThatAlternateAreToldRarely(t *testing.T) {
	s, c, path := world(t, 2)
	_, last := holdEvents(t, s, 0)
	told := map[string]int{}
	for i := range 5 * 75 { // a look every 12 s, for 75 minutes
		codes := map[string]string{"c00": campaign.CodeApproval, "c01": campaign.CodeLimit}
		if i%12 >= 6 {
			codes["c00"] = campaign.CodeUnknown
		}
		if i >= 30 { // the other begins in the sixth minute
			codes["c01"] = codes["c00"]
		}
		if i%50 == 0 {
			s = openAt(t, path, c) // a restart forgets nothing
		}
		must(t, s.TellHolds(ctx, "c", holding(codes)))
		c.add(12 * time.Second)
	}
	all, _ := holdEvents(t, s, last)
	for _, e := range all {
		if e.Kind == "held" {
			told[e.Ref.Name+" "+strings.Split(strings.TrimPrefix(e.Message, "2 clusters: c00, c01: "), ":")[0]]++
		}
	}
	for of, n := range told {
		if n > 2 {
			t.Errorf("%q was told %d times in 75 minutes", of, n)
		}
	}
	if told["c00 approval"] == 0 || told["c00 unknown"] == 0 || told["c01 approval"] == 0 || told["c01 unknown"] == 0 {
		t.Errorf("told: %v", told)
	}
}

// Clusters that come to a hold one after the other are told together.
func TestHoldsAreGathered(t *testing.T) {
	s, c, _ := world(t, 60)
	codes := map[string]string{}
	for i := range 60 {
		codes[fmt.Sprintf("c%02d", i)] = campaign.CodeLimit
	}
	_, last := holdEvents(t, s, 0)
	for i := range 60 { // one each minute
		codes[fmt.Sprintf("c%02d", i)] = campaign.CodeApproval
		must(t, s.TellHolds(ctx, "c", holding(codes)))
		c.add(time.Minute)
	}
	c.add(gather)
	must(t, s.TellHolds(ctx, "c", holding(codes)))
	all, _ := holdEvents(t, s, last)
	n := 0
	for i, e := range all {
		if e.Kind != "held" {
			t.Errorf("%+v", e)
		}
		if i == 0 && e.Ref.Name != "c00" || i > 0 && !strings.Contains(e.Message, " clusters: ") {
			t.Errorf("%d: %+v", i, e)
		}
		var more int
		if _, err := fmt.Sscanf(e.Message, "%d clusters:", &more); err != nil {
			more = 1
		}
		n += more
	}
	if len(all) > 8 || n != 60 {
		t.Errorf("%d events of %d clusters", len(all), n)
	}
}

// Servers that look at the same time tell once (trap 7), and a campaign of 10,000 clusters is a handful of events.
func TestHoldsOfAFleet_trap7(t *testing.T) {
	s, c, path := world(t, 100)
	var refs []fleet.ClusterRef
	codes := map[string]string{}
	for i := range 10000 {
		ref := fleet.ClusterRef{Env: "qa", Name: fmt.Sprintf("n%05d", i)}
		refs = append(refs, ref)
		codes[ref.Name] = []string{campaign.CodeApproval, campaign.CodeBudget}[i%2]
	}
	must(t, s.ApplyCampaign(ctx, campaign.Campaign{Name: "big", Strategy: "bluegreen", Product: "mariadb", From: "10.11", To: "11.8", Environments: []string{"qa"}, FromCell: "blue", ToCell: "green"}, refs, "me"))
	_, last := holdEvents(t, s, 0)
	var wg sync.WaitGroup
	for range 3 {
		other := openAt(t, path, c)
		wg.Go(func() {
			if err := other.TellHolds(ctx, "big", holding(codes)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	all, _ := holdEvents(t, s, last)
	if len(all) != 2 || !strings.HasPrefix(all[0].Message, "5000 clusters: n00000, n00002, n00004 and 4997 more: approval") {
		t.Errorf("%d events: %+v", len(all), all[:min(len(all), 3)])
	}
	began := time.Now()
	must(t, s.TellHolds(ctx, "big", holding(codes)))
	t.Logf("a look that changes nothing took %s", time.Since(began).Round(time.Millisecond))
}
