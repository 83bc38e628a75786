package notify

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/windlass-db/windlass/internal/state"
)

// Events is where events are read.
type Events interface {
	// Events reads the events that the filter selects, in their order.
	Events(ctx context.Context, f state.EventFilter) ([]state.Event, error)
	// Changed returns as soon as the newest event's number is not seq.
	Changed(ctx context.Context, seq int64) (int64, error)
}

// Positions is where sinks keep how far they are.
type Positions interface {
	// StartSink answers a sink's position; that of a new one is behind the newest event.
	StartSink(ctx context.Context, name string) (int64, error)
	SinkPosition(ctx context.Context, name string) (int64, error)
	// SetSinkPosition moves a position on, and never back.
	SetSinkPosition(ctx context.Context, name string, seq int64) error
}

// Store is the state.
type Store interface {
	Events
	Positions
	// Lead makes the holder the one that leads until the time given, if nobody else does.
	Lead(ctx context.Context, name, holder string, until time.Time) (bool, error)
}

// leadName is the lead that the sending server has.
const leadName = "notify"

// Options are what a Notifier needs.
type Options struct {
	Config Config
	Store  Store
	Holder string // this server's name, unique among servers of one state
	Log    *slog.Logger
	Now    func() time.Time
}

// times are the durations that nobody sets but tests.
type times struct {
	lead           time.Duration // how long a lead lasts
	ask            time.Duration // how often it is asked for
	first, most    time.Duration // of the backoff
	slow           time.Duration // between tries while the configuration is wrong
	pace           time.Duration // between two messages of a Slack sink: it takes one in a second
	poll           time.Duration // how often a server that does not lead looks whether it does
	grace          time.Duration // how long a request may go on when the server ends
	readEvents     int           // rows read at once
	persistSkipped int64         // rows that the filter left out before the position is written
}

var usual = times{lead: 30 * time.Second, ask: 5 * time.Second, first: time.Second, most: 5 * time.Minute, slow: 5 * time.Minute, pace: 1100 * time.Millisecond, poll: time.Second, grace: 3 * time.Second,
	readEvents: 500, persistSkipped: 200}

// Notifier sends events to the sinks of a Config. Make it with New.
type Notifier struct {
	cfg   Options
	times times
	lead  lead
	count counts
	sinks []*sink
}

// New makes a Notifier. It sends nothing before Run.
func New(o Options) *Notifier { return newNotifier(o, usual) }

func newNotifier(o Options, t times) *Notifier {
	n := &Notifier{cfg: o, times: t, count: newCounts(o.Config.Sinks)}
	client := newClient()
	for _, c := range o.Config.Sinks {
		n.sinks = append(n.sinks, newSink(n, c, client))
	}
	return n
}

// Start makes the sinks known to the state. What happens from then on is sent, also if it happens before Run, or after a server died that
// had only started. Run calls it, too.
func (n *Notifier) Start(ctx context.Context) error {
	var errs []error
	for _, s := range n.sinks {
		_, err := n.cfg.Store.StartSink(ctx, s.cfg.Name)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Run sends until the context ends. What fails is logged and tried again: it never returns an error.
func (n *Notifier) Run(ctx context.Context) error {
	for err := n.Start(ctx); err != nil; err = n.Start(ctx) {
		if ctx.Err() == nil {
			n.cfg.Log.Error("notifications: the state can't be reached", "err", err)
		}
		if !sleep(ctx, n.times.poll) {
			return nil
		}
	}
	for _, s := range n.sinks {
		if _, err := s.cfg.endpoint(); err != nil { // said at once, not only at the first event
			s.log.Error("notifications: the sink is configured wrongly; nothing is lost, and it is tried again", "err", err)
		}
	}
	var wg sync.WaitGroup
	for _, s := range n.sinks {
		wg.Go(func() { s.run(ctx) })
	}
	n.keepLead(ctx)
	wg.Wait()
	n.resign(ctx)
	for _, s := range n.sinks {
		s.client.CloseIdleConnections()
	}
	return nil
}

func newSink(n *Notifier, c SinkConfig, client *http.Client) *sink {
	s := &sink{cfg: c, n: n, client: client, log: n.cfg.Log.With("sink", c.Name), now: n.cfg.Now}
	s.format = webhookFormat{c.Name, n.cfg.Config.Dashboard}
	if c.Type == TypeSlack {
		s.format, s.pace = slackFormat{c.Name, n.cfg.Config.Dashboard}, n.times.pace
	}
	return s
}
