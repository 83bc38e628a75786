package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/state"
)

// Error is a problem that the server answered.
type Error struct {
	Status int
	Problem
}

// Error returns the server's message.
func (e *Error) Error() string { return e.Message }

// ErrorHint returns what to do about it.
func (e *Error) ErrorHint() string { return e.Hint }

// Is makes a fenced answer engine.ErrFenced, and a missing thing state.ErrNotFound.
func (e *Error) Is(target error) bool {
	switch target {
	case engine.ErrFenced:
		return e.Code == CodeFenced
	case state.ErrNotFound:
		return e.Code == CodeNotFound
	case state.ErrConflict:
		return e.Code == CodeRefused
	}
	return false
}

// UnreachableError means that the server did not answer: whether it did what was asked is unknown.
type UnreachableError struct {
	Base string
	Err  error
}

// Error says where.
func (e *UnreachableError) Error() string {
	return fmt.Sprintf("the server at %s did not answer: %v", e.Base, e.Err)
}

// Unwrap returns the cause.
func (e *UnreachableError) Unwrap() error { return e.Err }

// Untrusted reports whether there is a server, and its certificate was refused: no waiting mends that.
func (e *UnreachableError) Untrusted() bool {
	var bad *tls.CertificateVerificationError
	return errors.As(e.Err, &bad)
}

// ErrorHint says what to look at.
func (e *UnreachableError) ErrorHint() string {
	var untrusted x509.UnknownAuthorityError
	var misnamed x509.HostnameError
	var plain tls.RecordHeaderError
	switch {
	case errors.As(e.Err, &untrusted):
		return "its certificate does not come from the authority that was given: if it is the right server, give the PEM file of the authority that signed it (ca_file)"
	case errors.As(e.Err, &misnamed):
		return "its certificate is for another name: use an address that stands in it, or give the server a certificate for this one"
	case errors.As(e.Err, &plain) || errors.Is(e.Err, http.ErrSchemeMismatch):
		return "it speaks no TLS there: start it with --tls-cert and --tls-key, or begin its address with http://"
	case e.Untrusted():
		return "its certificate was refused: has it run out? is this machine's clock right?"
	}
	var op *net.OpError
	if errors.Is(e.Err, context.DeadlineExceeded) && !(errors.As(e.Err, &op) && op.Op == "dial") {
		return "it is too busy, or something on the way swallows what is sent to it; whether it did this is unknown: look with `windlass events`; traffic is not affected"
	}
	return "is it running? start it with `windlass server`, or give its address with --server; traffic is not affected"
}

// Client calls the server.
type Client struct {
	base  string
	token string
	http  *http.Client
	slow  *http.Client // without a limit of its own, for what the caller's context limits
}

// NewClient makes a client of the server at base, such as "http://127.0.0.1:8480". With caFile, a PEM file, the server's
// certificate must come from it.
func NewClient(base, token, caFile string) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("the server's address %q is no URL such as http://127.0.0.1:8480", base)
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("read the certificate authority: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", caFile)
		}
		t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &Client{base: strings.TrimSuffix(base, "/"), token: token, http: &http.Client{Transport: t, Timeout: 30 * time.Second}, slow: &http.Client{Transport: t}}, nil
}

// call sends a request and decodes the answer; found is false for 204.
func call[Reply any](ctx context.Context, c *Client, method, path string, body any) (reply Reply, found bool, err error) {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return reply, false, fmt.Errorf("encode the request: %w", err)
		}
		content = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, content)
	if err != nil {
		return reply, false, err
	}
	req.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return reply, false, &UnreachableError{c.base, err}
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNoContent {
		return reply, false, nil
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, 256<<20))
	if err != nil {
		return reply, false, &UnreachableError{c.base, err}
	}
	if resp.StatusCode/100 != 2 {
		e := &Error{Status: resp.StatusCode}
		if json.Unmarshal(b, &e.Problem) != nil || e.Message == "" {
			e.Problem = Problem{Code: CodeInternal, Message: fmt.Sprintf("%s answered %s", c.base, resp.Status), Hint: "is this the address of a windlass server?"}
		}
		return reply, false, e
	}
	if err := json.Unmarshal(b, &reply); err != nil {
		return reply, false, fmt.Errorf("the server's answer to %s %s is unreadable: %w", method, path, err)
	}
	return reply, true, nil
}

func do(ctx context.Context, c *Client, method, path string, body any) error {
	_, _, err := call[raw](ctx, c, method, path, body)
	return err
}

// Agent is a supervisor's client: it is bound to one environment and implements engine.Journal.
type Agent struct {
	c   *Client
	env string
}

// Agent binds the client to an environment.
func (c *Client) Agent(env string) *Agent { return &Agent{c, env} }

func (a *Agent) path(p string) string { return "/v1/env/" + url.PathEscape(a.env) + p }

func (a *Agent) action(id int64, verb string) string {
	return a.path("/actions/" + strconv.FormatInt(id, 10) + "/" + verb)
}

// Lease asks for work; nil if there is none.
func (a *Agent) Lease(ctx context.Context, holder string, kinds []state.KindVersion) (*engine.Assignment, error) {
	as, found, err := call[engine.Assignment](ctx, a.c, http.MethodPost, a.path("/lease"), LeaseRequest{holder, kinds})
	if err != nil || !found {
		return nil, err
	}
	return &as, nil
}

// Heartbeat prolongs the lease.
func (a *Agent) Heartbeat(ctx context.Context, action, term int64) (bool, error) {
	r, _, err := call[HeartbeatReply](ctx, a.c, http.MethodPost, a.action(action, "heartbeat"), HeartbeatRequest{term})
	return r.Abort, err
}

// Record persists a step's row.
func (a *Agent) Record(ctx context.Context, action, term int64, rec engine.StepRecord) (abort bool, err error) {
	r, _, err := call[RecordReply](ctx, a.c, http.MethodPost, a.action(action, "record"), RecordRequest{term, rec})
	return r.Abort, err
}

// Turn turns the action round.
func (a *Agent) Turn(ctx context.Context, action, term int64, reason string) error {
	return do(ctx, a.c, http.MethodPost, a.action(action, "turn"), TurnRequest{term, reason})
}

// Release gives the lease back.
func (a *Agent) Release(ctx context.Context, action, term int64, retryAfter time.Duration) error {
	return do(ctx, a.c, http.MethodPost, a.action(action, "release"), ReleaseRequest{term, retryAfter})
}

// Finish ends the action.
func (a *Agent) Finish(ctx context.Context, action, term int64, outcome engine.Outcome, message string) error {
	return do(ctx, a.c, http.MethodPost, a.action(action, "finish"), FinishRequest{term, outcome, message})
}

// Watched lists the clusters of the environment.
func (a *Agent) Watched(ctx context.Context) ([]Watched, error) {
	w, _, err := call[[]Watched](ctx, a.c, http.MethodGet, a.path("/clusters"), nil)
	return w, err
}

// Observe tells what was seen of a cluster.
func (a *Agent) Observe(ctx context.Context, cluster string, o fleet.Observation) error {
	return do(ctx, a.c, http.MethodPost, a.path("/observations"), ObservationRequest{cluster, o})
}

// BeginMend asks for leave to put a cluster right; nil if an action or another holder has it.
func (a *Agent) BeginMend(ctx context.Context, cluster, holder string) (*state.Mend, error) {
	m, found, err := call[state.Mend](ctx, a.c, http.MethodPost, a.path("/mends"), MendRequest{cluster, holder})
	if err != nil || !found {
		return nil, err
	}
	return &m, nil
}

// EndMend gives the leave back.
func (a *Agent) EndMend(ctx context.Context, cluster string, term int64, r state.Mended) error {
	return do(ctx, a.c, http.MethodPost, a.path("/mends/end"), MendedRequest{cluster, term, r})
}

var _ engine.Journal = (*Agent)(nil)

// Campaigns lists the campaigns, the newest first.
func (c *Client) Campaigns(ctx context.Context) ([]state.CampaignInfo, error) {
	r, _, err := call[[]state.CampaignInfo](ctx, c, http.MethodGet, "/v1/campaigns", nil)
	return r, err
}

func campaignPath(name, verb string) string {
	p := "/v1/campaigns/" + url.PathEscape(name)
	if verb != "" {
		p += "/" + verb
	}
	return p
}

// Campaign reads a campaign's status.
func (c *Client) Campaign(ctx context.Context, name string) (CampaignStatus, error) {
	r, _, err := call[CampaignStatus](ctx, c, http.MethodGet, campaignPath(name, ""), nil)
	return r, err
}

// Launch runs the launcher now.
func (c *Client) Launch(ctx context.Context, name string) (state.Launched, error) {
	r, _, err := call[state.Launched](ctx, c, http.MethodPost, campaignPath(name, "launch"), struct{}{})
	return r, err
}

// Pause stops new starts in a scope.
func (c *Client) Pause(ctx context.Context, name string, r ScopeRequest) error {
	return do(ctx, c, http.MethodPost, campaignPath(name, "pause"), r)
}

// Resume ends a pause of the same scope; for one whole cluster it also clears its failure, and what waits for a person's word.
func (c *Client) Resume(ctx context.Context, name string, r ScopeRequest) error {
	return do(ctx, c, http.MethodPost, campaignPath(name, "resume"), r)
}

// Abort ends a campaign.
func (c *Client) Abort(ctx context.Context, name, why string) error {
	return do(ctx, c, http.MethodPost, campaignPath(name, "abort"), ScopeRequest{Why: why})
}

// Rollback takes a cluster back.
func (c *Client) Rollback(ctx context.Context, name string, r RollbackRequest) error {
	return do(ctx, c, http.MethodPost, campaignPath(name, "rollback"), r)
}

// Freeze adds a time in which nothing starts.
func (c *Client) Freeze(ctx context.Context, name string, f campaign.Freeze) error {
	return do(ctx, c, http.MethodPost, campaignPath(name, "freeze"), f)
}

// Override lets a rule pass for a time.
func (c *Client) Override(ctx context.Context, name string, o campaign.Override) error {
	return do(ctx, c, http.MethodPost, campaignPath(name, "override"), o)
}

// Forecast runs a campaign's rules ahead on a virtual clock. It may take minutes, which the context limits.
func (c *Client) Forecast(ctx context.Context, name string, costs bool) (Forecast, error) {
	path := campaignPath(name, "forecast")
	if costs {
		path += "?costs=true"
	}
	patient := *c
	patient.http = c.slow
	r, _, err := call[Forecast](ctx, &patient, http.MethodGet, path, nil)
	return r, err
}

// Switchovers lists a campaign's measured switches.
func (c *Client) Switchovers(ctx context.Context, name string) ([]state.Switchover, error) {
	r, _, err := call[[]state.Switchover](ctx, c, http.MethodGet, campaignPath(name, "switchovers"), nil)
	return r, err
}

// Cluster reads all that is known of a cluster.
func (c *Client) Cluster(ctx context.Context, ref fleet.ClusterRef) (ClusterStatus, error) {
	r, _, err := call[ClusterStatus](ctx, c, http.MethodGet, "/v1/clusters/"+url.PathEscape(ref.Env)+"/"+url.PathEscape(ref.Name), nil)
	return r, err
}

// Events reads events after a number.
func (c *Client) Events(ctx context.Context, f state.EventFilter) ([]state.Event, error) {
	q := url.Values{"after": {strconv.FormatInt(f.After, 10)}, "campaign": {f.Campaign}, "env": {f.Ref.Env}, "cluster": {f.Ref.Name}, "limit": {strconv.Itoa(f.Limit)}}
	if f.Newest {
		q.Set("newest", "true")
	}
	r, _, err := call[[]state.Event](ctx, c, http.MethodGet, "/v1/events?"+q.Encode(), nil)
	return r, err
}

// NewToken makes a token; the answer is the only time that it is shown.
func (c *Client) NewToken(ctx context.Context, t state.Token) (string, error) {
	r, _, err := call[struct {
		Token string `json:"token"`
	}](ctx, c, http.MethodPost, "/v1/tokens", t)
	return r.Token, err
}
