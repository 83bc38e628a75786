package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/capture/tap"
	"github.com/windlass-db/windlass/internal/gateway/adminapi"
)

// capturing switches the capture of statements on and off while sessions are served. It has no part in whether they are.
type capturing struct {
	gw  *Gateway
	tap atomic.Pointer[tap.Tap] // what sessions hand to; nil: it is off
	ask chan captureAsk

	mu   sync.Mutex
	now  *tap.Tap // the present one, or the last
	on   bool
	how  adminapi.CaptureStatus // what does not change of it
	fail string                 // why it could not be switched on with the gateway
}

// captureAsk is a request for Run: to start, or to stop.
type captureAsk struct {
	start *adminapi.CaptureRequest
	stop  adminapi.CaptureStopRequest
	done  chan error
}

func newCapturing(g *Gateway) *capturing { return &capturing{gw: g, ask: make(chan captureAsk)} }

// Limits of a capture that are no settings.
const (
	captureFlush = time.Second     // how long an event is held back at the most
	captureEnd   = 5 * time.Second // how long the end of a capture is waited for; a disk may take longer
)

// Run starts and stops taps, until the context ends.
func (c *capturing) Run(ctx context.Context) error {
	var end func() error
	stop := func() (err error) {
		if end != nil {
			err = end()
			end = nil
		}
		return err
	}
	defer stop()
	if cfg := c.gw.cfg.Capture; cfg != nil && cfg.Enabled {
		var err error
		if end, err = c.begin(ctx, adminapi.CaptureRequest{}); err != nil {
			c.gw.log.Error("capture could not be switched on", "err", err)
			c.mu.Lock()
			c.fail = err.Error()
			c.mu.Unlock()
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case a := <-c.ask:
			var err error
			switch {
			case a.start == nil:
				if err = c.mine(a.stop); err == nil {
					err = stop()
				}
			case end == nil:
				end, err = c.begin(ctx, *a.start)
			default:
				err = c.same(*a.start)
			}
			a.done <- err
		}
	}
}

// begin switches the capture on, and gives what switches it off.
func (c *capturing) begin(ctx context.Context, r adminapi.CaptureRequest) (end func() error, err error) {
	cfg, err := c.tapFor(r)
	if err != nil {
		return nil, err
	}
	t, err := tap.New(cfg, c.gw.log)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", adminapi.ErrBadRequest, err)
	}
	work, cancel := context.WithCancel(context.WithoutCancel(ctx)) // it ends after the sessions
	done := make(chan error, 1)
	go func() { done <- t.Run(work) }()
	c.mu.Lock()
	c.now, c.on, c.fail = t, true, ""
	c.how = adminapi.CaptureStatus{By: r.By, Run: fmt.Sprintf("%016x", cfg.Run), Keeps: string(cfg.Statements), Sample: cfg.Sample, Sealed: cfg.Key != nil, Masked: cfg.Mask != nil}
	c.mu.Unlock()
	c.tap.Store(t)
	c.gw.log.Info("capture is on", "folder", cfg.Folder, "run", c.how.Run, "statements", cfg.Statements, "sample", cfg.Sample, "sealed", cfg.Key != nil, "masked", cfg.Mask != nil)
	return func() error {
		c.tap.Store(nil)
		t.Stop()
		cancel()
		c.mu.Lock()
		c.on = false
		c.mu.Unlock()
		late := time.NewTimer(captureEnd)
		defer late.Stop()
		select {
		case err := <-done:
			st := t.Status()
			c.gw.log.Info("capture is off", "run", c.how.Run, "kept", st.Kept, "statements", st.Started, "dropped", st.Dropped)
			return err
		case <-late.C:
			return fmt.Errorf("%w: capture is off, but the disk has not taken all of it within %s", adminapi.ErrInternal, captureEnd)
		}
	}, nil
}

// tapFor is what a request asks for. It reads the keys.
func (c *capturing) tapFor(r adminapi.CaptureRequest) (tap.Config, error) {
	cfg := c.gw.cfg.Capture
	if cfg == nil {
		return tap.Config{}, fmt.Errorf("%w: write one, and start the gateway again", adminapi.ErrNoCapture)
	}
	key, mask, err := readCaptureKeys(*cfg)
	if err != nil {
		return tap.Config{}, fmt.Errorf("%w: %w", adminapi.ErrBadRequest, err)
	}
	if info, err := os.Stat(cfg.Folder); err == nil && !info.IsDir() {
		return tap.Config{}, fmt.Errorf("%w: capture.folder: %s is no folder", adminapi.ErrBadRequest, cfg.Folder)
	}
	t := tap.Config{
		Gateway: c.gw.cfg.Name, Run: uint64(time.Now().UnixNano()), Folder: cfg.Folder, Key: key, Mask: mask, Statements: cfg.Statements, Sample: cfg.Sample, Rotate: int64(cfg.RotateSize),
		Every: cfg.RotateEvery.D(), Quota: int64(cfg.Quota), Ring: cfg.Memory, Flush: captureFlush, Started: c.gw.started, Server: c.gw.serverKind,
	}
	switch s := tap.Statements(r.Statements); s {
	case "":
	case tap.All, tap.Selects:
		t.Statements = s
	default:
		return tap.Config{}, fmt.Errorf("%w: statements are %q or %q, not %q", adminapi.ErrBadRequest, tap.Selects, tap.All, s)
	}
	if r.Sample != 0 {
		if !(r.Sample > 0 && r.Sample <= 1) {
			return tap.Config{}, fmt.Errorf("%w: a sample is above 0 and at the most 1, not %v", adminapi.ErrBadRequest, r.Sample)
		}
		t.Sample = r.Sample
	}
	return t, nil
}

// same refuses a request for other settings than those that are in force.
func (c *capturing) same(r adminapi.CaptureRequest) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.Statements != "" && r.Statements != c.how.Keeps || r.Sample != 0 && r.Sample != c.how.Sample {
		return fmt.Errorf("%w: %s, sample %v; stop it first", adminapi.ErrCapturing, c.how.Keeps, c.how.Sample)
	}
	return nil
}

// mine refuses to end what another one began.
func (c *capturing) mine(r adminapi.CaptureStopRequest) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.on && r.By != "" && r.By != c.how.By {
		return fmt.Errorf("%w: %q began it, not %q", adminapi.ErrOtherCapture, c.how.By, r.By)
	}
	return nil
}

// serverKind is what the capture says of the server behind the gateway.
func (g *Gateway) serverKind() (kind, version string) {
	r := g.writer.route.Load()
	if r.server == nil {
		return "", ""
	}
	o := r.server.seen.Load()
	if o == nil {
		return "", ""
	}
	if strings.Contains(o.version, "MariaDB") {
		return "mariadb", o.version
	}
	return "mysql", o.version
}

// Start switches the capture on.
func (c *capturing) Start(ctx context.Context, r adminapi.CaptureRequest) (adminapi.CaptureStatus, error) {
	return c.tell(ctx, r.Term, captureAsk{start: &r, done: make(chan error, 1)})
}

// Stop switches it off, when what was kept is in files.
func (c *capturing) Stop(ctx context.Context, r adminapi.CaptureStopRequest) (adminapi.CaptureStatus, error) {
	return c.tell(ctx, r.Term, captureAsk{stop: r, done: make(chan error, 1)})
}

func (c *capturing) tell(ctx context.Context, term int64, a captureAsk) (adminapi.CaptureStatus, error) {
	if _, err := c.Status(); err != nil {
		return adminapi.CaptureStatus{}, err
	}
	if term != 0 { // an operator has none
		if err := c.gw.sw.Fence(term); err != nil {
			return adminapi.CaptureStatus{}, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*captureEnd)
	defer cancel()
	select {
	case c.ask <- a:
	case <-ctx.Done():
		return adminapi.CaptureStatus{}, fmt.Errorf("%w: another request is under way: %w", adminapi.ErrBusy, ctx.Err())
	}
	select {
	case err := <-a.done:
		if err != nil {
			return adminapi.CaptureStatus{}, err
		}
	case <-ctx.Done():
		return adminapi.CaptureStatus{}, fmt.Errorf("%w: %w", adminapi.ErrInternal, ctx.Err())
	}
	return c.Status()
}

// Status is how it goes, or went.
func (c *capturing) Status() (adminapi.CaptureStatus, error) {
	cfg := c.gw.cfg.Capture
	if cfg == nil {
		return adminapi.CaptureStatus{}, adminapi.ErrNoCapture
	}
	c.mu.Lock()
	t, st := c.now, c.how
	st.On, st.Folder, st.Error = c.on, cfg.Folder, c.fail
	c.mu.Unlock()
	if t == nil {
		st.Keeps, st.Sample, st.Sealed, st.Masked = string(cfg.Statements), cfg.Sample, cfg.KeyFile != "", cfg.MaskKeyFile != ""
		st.Dropped = map[string]uint64{}
		return st, nil
	}
	s := t.Status()
	st.Since, st.Statements, st.Kept, st.Waiting, st.Dropped = s.Since, s.Started, s.Kept, s.Waiting, maps.Clone(s.Dropped)
	st.Events, st.Files, st.Bytes, st.SpoolBytes, st.LagMS = s.Events, s.Files, s.Bytes, s.Spool, s.Lag.Milliseconds()
	if s.Err != "" {
		st.Error = s.Err
	}
	return st, nil
}

// readCaptureKeys reads the secrets of a capture. The error names all that is wrong with them.
func readCaptureKeys(cfg CaptureConfig) (key *capture.Key, mask []byte, err error) {
	var wrong []error
	if cfg.KeyFile != "" {
		text, err := readSecret(cfg.KeyFile, "write 32 random bytes in base64 into it: head -c 32 /dev/urandom | base64")
		if err == nil {
			key, err = capture.ParseKey(string(text))
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("capture.key_file: %w", err))
		}
	}
	if cfg.MaskKeyFile != "" {
		mask, err = readSecret(cfg.MaskKeyFile, "write a random secret into it: head -c 24 /dev/urandom | base64")
		if err == nil && len(mask) < shortestToken {
			err = fmt.Errorf("%s holds %d characters: write at least %d", filepath.Base(cfg.MaskKeyFile), len(mask), shortestToken)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("capture.mask_key_file: %w", err))
		}
	}
	return key, mask, errors.Join(wrong...)
}
