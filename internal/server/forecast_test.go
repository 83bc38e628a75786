package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/server/web"
	"github.com/windlass-db/windlass/internal/state"
)

// foreteller counts forecasts, and holds each up until it is let go.
type foreteller struct {
	begun, ended atomic.Int64
	now, most    atomic.Int64
	let          chan struct{}
}

func (f *foreteller) forecast(ctx context.Context, s campaign.Snapshot, now time.Time, d map[string]time.Duration) (campaign.Prediction, error) {
	f.begun.Add(1)
	f.most.Store(max(f.most.Load(), f.now.Add(1)))
	defer f.now.Add(-1)
	defer f.ended.Add(1)
	select {
	case <-f.let:
	case <-ctx.Done():
		return campaign.Prediction{}, ctx.Err()
	}
	return campaign.Forecast(ctx, s, now, d)
}

// foretelling is a server with the demo's campaign whose forecasts are counted, and whose clock is the test's.
func foretelling(t *testing.T) (*Server, *foreteller, *state.Store, *atomic.Int64) {
	t.Helper()
	store, err := state.Open(ctx, filepath.Join(t.TempDir(), "state.db"), state.Options{LeaseTTL: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	fl, c := demoFleet(), demoCampaign()
	if _, err := store.Apply(ctx, state.Change{Fleet: &fl, Campaign: &c, Who: "test"}); err != nil {
		t.Fatal(err)
	}
	var later atomic.Int64 // nanoseconds that the server's clock is ahead
	began := time.Now()
	s, err := New(Config{Store: store, Decide: campaign.Decide, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return began.Add(time.Duration(later.Load())) }})
	if err != nil {
		t.Fatal(err)
	}
	f := &foreteller{let: make(chan struct{})}
	s.forecasts.foretell = f.forecast
	return s, f, store, &later
}

// However many look at the campaign's page, and however often, there is one forecast at a time, and no page waits for it.
func TestPagesWaitForNoForecast(t *testing.T) {
	s, f, store, later := foretelling(t)
	p := pages{s}
	look := func() web.Campaign {
		t.Helper()
		one, err := p.Campaign(ctx, "c")
		if err != nil {
			t.Fatal(err)
		}
		return one
	}
	if one := look(); one.Forecast != nil || one.ForecastDue.After(one.At) || f.begun.Load() != 0 {
		t.Fatalf("the page has %+v, due %s, after %d forecasts", one.Forecast, one.ForecastDue, f.begun.Load())
	}
	var viewers sync.WaitGroup
	for range 8 {
		viewers.Go(func() {
			if _, err := p.Forecast(ctx, "c"); err != nil {
				t.Error(err)
			}
		})
	}
	processtest.Until(t, 10*time.Second, "a forecast is being worked out", func() bool { return f.begun.Load() > 0 })
	look() // meanwhile
	close(f.let)
	viewers.Wait()
	if f.begun.Load() != 1 || f.most.Load() != 1 {
		t.Errorf("for 8 viewers there were %d forecasts, %d at once", f.begun.Load(), f.most.Load())
	}
	one := look()
	if one.Forecast == nil || one.Forecast.End.IsZero() || !one.ForecastDue.After(one.At) {
		t.Errorf("the page has %+v, due %s", one.Forecast, one.ForecastDue)
	}

	// Something happens: the next one comes after a rest, not at each event.
	last, _ := s.forecasts.kept(forecastKey{campaign: "c"})
	last.took = time.Second
	s.forecasts.keep(forecastKey{campaign: "c"}, last)
	if err := store.Pause(ctx, "c", campaign.Pause{Env: "qa", Cluster: "a", Who: "mira", Why: "x"}); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		if _, err := p.Forecast(ctx, "c"); err != nil {
			t.Fatal(err)
		}
	}
	if one := look(); f.begun.Load() != 1 || one.ForecastDue.Sub(one.Forecast.From) != forecastRest*time.Second {
		t.Errorf("%d forecasts for the pages; due %s after the last", f.begun.Load(), one.ForecastDue.Sub(one.Forecast.From))
	}
	later.Store(int64(forecastRest * time.Second))
	if next, err := p.Forecast(ctx, "c"); err != nil || f.begun.Load() != 2 || len(next.Stuck) == 0 {
		t.Errorf("after the rest: %d forecasts, %+v, %v", f.begun.Load(), next, err)
	}
	later.Add(int64(forecastAge)) // an old one is not shown for ever, though nothing happened
	if one := look(); one.ForecastDue.After(one.At) {
		t.Errorf("due %s, at %s", one.ForecastDue, one.At)
	}
	if _, err := p.Forecast(ctx, "nothing"); !errors.Is(err, web.ErrNotFound) {
		t.Errorf("of a campaign that is not there: %v", err)
	}
}

// Whoever goes away takes his forecast with him, in the line and at work; those behind him get theirs.
func TestAForecastEndsWithWhoeverWantsIt(t *testing.T) {
	s, f, store, _ := foretelling(t)
	gone, leave := context.WithCancel(ctx)
	first, second, third := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	want := func(ctx context.Context, done chan error) {
		_, err := s.foretold(ctx, forecastKey{campaign: "c", costs: true}, foretold.current)
		done <- err
	}
	go want(gone, first)
	processtest.Until(t, 10*time.Second, "a forecast is being worked out", func() bool { return f.begun.Load() > 0 })
	waits, tired := context.WithCancel(ctx)
	go want(waits, second)
	go want(ctx, third)
	tired()
	if err := <-second; !errors.Is(err, context.Canceled) || f.begun.Load() != 1 {
		t.Errorf("the one who waited: %v, %d forecasts", err, f.begun.Load())
	}
	leave()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the one who left: %v", err)
	}
	close(f.let)
	if err := <-third; err != nil || f.begun.Load() != 2 {
		t.Errorf("the one who stayed: %v, %d forecasts", err, f.begun.Load())
	}
	// The command line is answered from what there is, until something happens.
	if _, err := s.foretold(ctx, forecastKey{campaign: "c"}, foretold.current); err != nil || f.begun.Load() != 2 {
		t.Errorf("once more: %v, %d forecasts", err, f.begun.Load())
	}
	if err := store.Pause(ctx, "c", campaign.Pause{Who: "mira", Why: "x"}); err != nil {
		t.Fatal(err)
	}
	if one, err := s.foretold(ctx, forecastKey{campaign: "c"}, foretold.current); err != nil || f.begun.Load() != 3 || len(one.Stuck) != 4 {
		t.Errorf("after a pause: %v, %d forecasts, %d stuck", err, f.begun.Load(), len(one.Stuck))
	}
}

// BenchmarkCampaignPage reads the campaign's page of 10,000 clusters: as it is, and the forecast that it does not wait for.
func BenchmarkCampaignPage(b *testing.B) {
	store, err := state.Open(ctx, filepath.Join(b.TempDir(), "state.db"), state.Options{LeaseTTL: time.Second})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	const clusters = 10_000
	fl, c := fleet.Fleet{Name: "f"}, demoCampaign()
	for _, env := range []string{"qa", "prod"} {
		e := fleet.Environment{Name: env}
		for i := range clusters / 2 {
			e.Clusters = append(e.Clusters, fleet.Cluster{Name: fmt.Sprintf("shard-%05d", i), Env: env, Product: "mariadb", Record: fmt.Sprintf("%d.", i), Cells: []fleet.Cell{{Name: "blue", Version: "10.11", Gateway: &fleet.Gateway{Name: fmt.Sprintf("%d-gateway", i)}}}})
		}
		fl.Environments = append(fl.Environments, e)
	}
	c.Limits.PerStage = 100
	if _, err := store.Apply(ctx, state.Change{Fleet: &fl, Campaign: &c, Who: "test"}); err != nil {
		b.Fatal(err)
	}
	s, err := New(Config{Store: store, Decide: campaign.Decide, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		began := time.Now()
		if _, err := (pages{s}).Campaign(ctx, "c"); err != nil {
			b.Fatal(err)
		}
		page := time.Since(began)
		began = time.Now()
		if _, err := s.foretold(ctx, forecastKey{campaign: "c"}, func(foretold, int64, time.Time) bool { return false }); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(time.Since(began))/float64(page), "forecast/page")
		b.ReportMetric(page.Seconds()*1000, "ms/page")
	}
}
