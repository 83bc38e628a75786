package jobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Load is a number of clients that post jobs and read them again, through the load balancer, and remember every answer. It retries nothing:
// a request that fails has failed.
type Load struct {
	base  string
	steps int

	mu       sync.Mutex
	requests []request
	acked    []string // keys of jobs that were acknowledged
	open     time.Time
	next     int
}

// request is one that was answered, or was not.
type request struct {
	at   time.Time // when it was sent
	took time.Duration
	err  error
}

// Pace of the clients: posts make work, which has to be less than the nodes can do while a group of them is out.
const (
	posters     = 2
	postEvery   = 350 * time.Millisecond
	readers     = 4
	readEvery   = 60 * time.Millisecond
	featureEach = 500 * time.Millisecond
	jobSteps    = 8
)

// requestWithin bounds a request. It is long: a stall is to be measured, not cut off.
const requestWithin = time.Minute

// NewLoad makes clients of a site.
func NewLoad(front string) *Load { return &Load{base: "http://" + front, steps: jobSteps} }

// Run puts the load on until the context ends; requests that were sent get their answer first.
func (l *Load) Run(ctx context.Context) {
	var all sync.WaitGroup
	client := func(every time.Duration, do func(*http.Client)) {
		all.Go(func() {
			c := &http.Client{Timeout: requestWithin, Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
			defer c.CloseIdleConnections()
			for pause(ctx, every/2+rand.N(every)) {
				do(c)
			}
		})
	}
	for range posters {
		client(postEvery, func(c *http.Client) { l.post(c, "") })
	}
	for range readers {
		client(readEvery, l.read)
	}
	client(featureEach, func(c *http.Client) { l.post(c, "&priority=5") })
	all.Wait()
}

// pause waits, and tells whether the context goes on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// post posts a job. One that wants the new version's feature is refused, in good order, until that is open.
func (l *Load) post(c *http.Client, feature string) {
	l.mu.Lock()
	l.next++
	key := fmt.Sprintf("job-%d", l.next)
	l.mu.Unlock()
	wants := []int{http.StatusCreated}
	if feature != "" {
		wants = append(wants, http.StatusConflict)
	}
	status := l.ask(c, http.MethodPost, fmt.Sprintf("/jobs?key=%s&steps=%d%s", key, l.steps, feature), wants...)
	if status != http.StatusCreated {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked = append(l.acked, key)
	if feature != "" && l.open.IsZero() {
		l.open = time.Now()
	}
}

// read reads a job that was acknowledged: every node knows it at once.
func (l *Load) read(c *http.Client) {
	l.mu.Lock()
	path := "/version"
	if n := len(l.acked); n > 0 {
		path = "/jobs/" + l.acked[max(0, n-1-rand.IntN(50))]
	}
	l.mu.Unlock()
	l.ask(c, http.MethodGet, path, http.StatusOK)
}

// ask sends one request, and gives the status of the answer, or 0.
func (l *Load) ask(c *http.Client, method, path string, wants ...int) int {
	r := request{at: time.Now()}
	status := 0
	req, err := http.NewRequest(method, l.base+path, nil)
	if err == nil {
		var resp *http.Response
		if resp, err = c.Do(req); err == nil {
			b, rerr := io.ReadAll(resp.Body)
			err = errors.Join(rerr, resp.Body.Close())
			status = resp.StatusCode
			if !slices.Contains(wants, status) {
				err = errors.Join(err, fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, b))
			}
		}
	}
	r.took, r.err = time.Since(r.at), err
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests = append(l.requests, r)
	return status
}

// Acked counts the jobs that were acknowledged.
func (l *Load) Acked() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// Keys are those of the jobs that were acknowledged.
func (l *Load) Keys() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.acked)
}

// FeatureSince is when the first client was given the new version's feature; zero if none was.
func (l *Load) FeatureSince() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

// Requests counts the requests sent in a span of time, those that failed, and gives the 99th percentile of how long they took. errs are
// the first few failures.
func (l *Load) Requests(from, to time.Time) (n, failed int, p99 time.Duration, errs []error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var took []time.Duration
	for _, r := range l.requests {
		if r.at.Before(from) || !r.at.Before(to) {
			continue
		}
		n++
		took = append(took, r.took)
		if r.err != nil {
			failed++
			if len(errs) < 3 {
				errs = append(errs, fmt.Errorf("%s, after %v: %w", r.at.Format("15:04:05.000"), r.took.Round(time.Millisecond), r.err))
			}
		}
	}
	if n > 0 {
		slices.Sort(took)
		p99 = took[min(n*99/100, n-1)]
	}
	return n, failed, p99, errs
}

// Failures are the requests that failed of those sent in a span of time: when each was sent, and when it had failed.
func (l *Load) Failures(from, to time.Time) (spans [][2]time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.requests {
		if r.err != nil && !r.at.Before(from) && r.at.Before(to) {
			spans = append(spans, [2]time.Time{r.at, r.at.Add(r.took)})
		}
	}
	return spans
}
