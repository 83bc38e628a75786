package notify

import (
	"context"
	"sync"
	"time"
)

// lead is whether this server is the one that sends. Its end is counted on this machine's monotonic clock from before the
// request, so that a server that was stopped and wakes does not believe in a lead that another has by now.
type lead struct {
	mu    sync.Mutex
	until time.Time
}

func (l *lead) set(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = until
}

func (l *lead) held() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Now().Before(l.until)
}

// keepLead asks for the lead, and keeps it, until the context ends.
func (n *Notifier) keepLead(ctx context.Context) {
	was := false
	for {
		begin := time.Now()
		leads, err := n.cfg.Store.Lead(ctx, leadName, n.cfg.Holder, n.cfg.Now().Add(n.times.lead))
		switch {
		case err != nil && ctx.Err() == nil:
			n.cfg.Log.Error("notifications: the lead can't be asked for", "err", err)
		case err == nil && leads:
			n.lead.set(begin.Add(n.times.lead * 9 / 10))
		case err == nil:
			n.lead.set(time.Time{})
		}
		if now := n.lead.held(); now != was {
			was = now
			n.cfg.Log.Info("notifications: lead", "leads", now)
		}
		if !sleep(ctx, n.times.ask) {
			return
		}
	}
}

// resign gives the lead back, so that the next server need not wait for its end.
func (n *Notifier) resign(ctx context.Context) {
	if !n.lead.held() {
		return
	}
	n.lead.set(time.Time{})
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if _, err := n.cfg.Store.Lead(ctx, leadName, n.cfg.Holder, n.cfg.Now().Add(-time.Microsecond)); err != nil {
		n.cfg.Log.Warn("notifications: the lead was not given back; it ends by itself", "err", err)
	}
}

// sleep waits, and tells whether it did to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
