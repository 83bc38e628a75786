// Package launcher starts what Decide lets start, at the campaign's time, and nothing at any other.
//
// Each run has a key, made of the date in the campaign's zone, and the state does a key once: neither a restart, nor a
// second server, nor a clock that is put back doubles a run. Several servers elect one launcher by a row in the
// state; if two believe in it at once, the transaction that launches still keeps every limit.
//
// Beside its runs it looks at the holds, so that a person who is needed hears of it soon, and not at the next run.
package launcher

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/state"
)

// Store is what the launcher reads and writes.
type Store interface {
	Campaigns(ctx context.Context) ([]state.CampaignInfo, error)
	Launch(ctx context.Context, name, key, who string, decide state.DecideFunc) (state.Launched, error)
	TellHolds(ctx context.Context, name string, decide state.DecideFunc) error
	LaunchedKey(ctx context.Context, name, key string) (bool, error)
	Lead(ctx context.Context, name, holder string, until time.Time) (bool, error)
}

// Launcher runs campaigns at their times.
type Launcher struct {
	Store  Store
	Decide state.DecideFunc
	Holder string // this server's name, unique among servers of one state
	Log    *slog.Logger
	Now    func() time.Time // the state's clock: a run that is due by another would be held by the window, and be done all the same
	Every  time.Duration    // how often it looks whether a run is due; 0: 1 s
	Holds  time.Duration    // how often it looks at the holds; 0: 15 s
}

// lookShare bounds what looking at the holds costs: after each it rests for so many times as long as it took.
const lookShare = 20

// lead is how long a server stays the launcher without saying so again.
const lead = 30 * time.Second

// Run looks for due runs until the context ends.
func (l Launcher) Run(ctx context.Context) error {
	every := l.Every
	if every == 0 {
		every = time.Second
	}
	holds := l.Holds
	if holds == 0 {
		holds = 15 * time.Second
	}
	t := time.NewTicker(every)
	defer t.Stop()
	look := time.NewTimer(holds)
	defer look.Stop()
	for {
		if err := l.Tick(ctx); err != nil && ctx.Err() == nil {
			l.Log.Error("launcher: nothing was started this time", "err", err)
		}
		for due := false; !due; {
			select {
			case <-ctx.Done():
				return l.resign(context.WithoutCancel(ctx))
			case <-t.C:
				due = true
			case <-look.C:
				began := time.Now()
				if err := l.Look(ctx); err != nil && ctx.Err() == nil {
					l.Log.Error("launcher: it is not told who waits for a person", "err", err)
				}
				look.Reset(max(holds, lookShare*time.Since(began)))
			}
		}
	}
}

// resign gives the lead back, so that the next server need not wait for its end.
func (l Launcher) resign(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := l.Store.Lead(ctx, "launcher", l.Holder, l.Now().Add(-time.Microsecond)); err != nil {
		l.Log.Warn("launcher: the lead was not given back; it ends by itself", "err", err)
	}
	return nil
}

// Look tells of the holds of every running campaign that need a person, if this server leads.
func (l Launcher) Look(ctx context.Context) error {
	leads, err := l.Store.Lead(ctx, "launcher", l.Holder, l.Now().Add(lead))
	if err != nil || !leads {
		return err
	}
	infos, err := l.Store.Campaigns(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, info := range infos {
		if info.Status == campaign.StatusRunning {
			errs = append(errs, l.Store.TellHolds(ctx, info.Campaign.Name, l.Decide))
		}
	}
	return errors.Join(errs...)
}

// Tick launches every running campaign whose run is due and not done.
func (l Launcher) Tick(ctx context.Context) error {
	now := l.Now()
	leads, err := l.Store.Lead(ctx, "launcher", l.Holder, now.Add(lead))
	if err != nil || !leads {
		return err
	}
	infos, err := l.Store.Campaigns(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, info := range infos {
		if info.Status != "running" {
			continue
		}
		key := campaign.LaunchKey(info.Campaign, now)
		if key == "" {
			continue
		}
		done, err := l.Store.LaunchedKey(ctx, info.Campaign.Name, key)
		if err != nil || done {
			errs = append(errs, err)
			continue
		}
		out, err := l.Store.Launch(ctx, info.Campaign.Name, key, "launcher", l.Decide)
		switch {
		case errors.Is(err, state.ErrLaunched), errors.Is(err, state.ErrUnseen):
		case err != nil:
			errs = append(errs, err)
		case len(out.Started) > 0:
			l.Log.Info("launched", "campaign", info.Campaign.Name, "key", key, "started", len(out.Started), "held", out.Held, "arrived", out.Arrived)
		}
	}
	return errors.Join(errs...)
}
