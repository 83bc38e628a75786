package adminapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// maxAnswer bounds what the client reads of one answer: 64 MB, far above the session list of a full gateway.
const maxAnswer = 64 << 20

// Client calls one gateway's admin API. It is safe for concurrent use. A call lasts no longer than its context;
// an error of the transport means that nothing is known of what the gateway did.
type Client struct {
	base  string
	token string
	http  *http.Client
}

// NewClient makes a client for a base URL such as "http://127.0.0.1:4101". A nil transport is http.DefaultClient.
func NewClient(base, token string, transport *http.Client) *Client {
	if transport == nil {
		transport = http.DefaultClient
	}
	return &Client{base: strings.TrimRight(base, "/"), token: token, http: transport}
}

// Status asks for everything.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return call[Status](ctx, c, http.MethodGet, PathStatus, nil)
}

// Sessions lists every client connection.
func (c *Client) Sessions(ctx context.Context) (SessionList, error) {
	return call[SessionList](ctx, c, http.MethodGet, PathSessions, nil)
}

// Close closes client connections by force.
func (c *Client) Close(ctx context.Context, r CloseRequest) (CloseReply, error) {
	return call[CloseReply](ctx, c, http.MethodPost, PathClose, r)
}

// SetServers replaces the list of servers.
func (c *Client) SetServers(ctx context.Context, r ServersRequest) (Status, error) {
	return call[Status](ctx, c, http.MethodPut, PathServers, r)
}

// Fence raises the term.
func (c *Client) Fence(ctx context.Context, term int64) (Status, error) {
	return call[Status](ctx, c, http.MethodPost, PathFence, FenceRequest{Term: term})
}

// Switch asks where the gateway is in a switch.
func (c *Client) Switch(ctx context.Context) (SwitchStatus, error) {
	return call[SwitchStatus](ctx, c, http.MethodGet, PathSwitch, nil)
}

// Capture asks how the capture goes.
func (c *Client) Capture(ctx context.Context) (CaptureStatus, error) {
	return call[CaptureStatus](ctx, c, http.MethodGet, PathCapture, nil)
}

// StartCapture switches it on. If it is on with the same settings nothing changes.
func (c *Client) StartCapture(ctx context.Context, r CaptureRequest) (CaptureStatus, error) {
	return call[CaptureStatus](ctx, c, http.MethodPost, PathCaptureStart, r)
}

// StopCapture switches it off, and answers when all that was kept is in files. If it is off nothing changes.
func (c *Client) StopCapture(ctx context.Context) (CaptureStatus, error) {
	return c.EndCapture(ctx, CaptureStopRequest{})
}

// EndCapture is StopCapture under a term, or for what somebody began.
func (c *Client) EndCapture(ctx context.Context, r CaptureStopRequest) (CaptureStatus, error) {
	return call[CaptureStatus](ctx, c, http.MethodPost, PathCaptureStop, r)
}

// Prepare opens and restores the sessions on the elect, and reports what can't move.
func (c *Client) Prepare(ctx context.Context, r PrepareRequest) (PrepareReply, error) {
	return call[PrepareReply](ctx, c, http.MethodPost, PathPrepare, r)
}

// Hold closes the gate and returns when nothing is in flight, or *BlockedError after it opened the gate again.
// Its context must outlive the drain.
func (c *Client) Hold(ctx context.Context, r HoldRequest) (SwitchStatus, error) {
	return call[SwitchStatus](ctx, c, http.MethodPost, PathHold, r)
}

// Release opens the gate to the new primary.
func (c *Client) Release(ctx context.Context, r ReleaseRequest) (ReleaseReply, error) {
	return call[ReleaseReply](ctx, c, http.MethodPost, PathRelease, r)
}

// Cancel ends a switch; the servers' own state decides where traffic goes.
func (c *Client) Cancel(ctx context.Context, r CancelRequest) (SwitchStatus, error) {
	return call[SwitchStatus](ctx, c, http.MethodPost, PathCancel, r)
}

func call[Reply any](ctx context.Context, c *Client, method, path string, request any) (Reply, error) {
	var reply Reply
	wrap := func(err error) (Reply, error) {
		return reply, fmt.Errorf("gateway %s: %s %s: %w", c.base, method, path, err)
	}
	var body io.Reader
	if request != nil {
		raw, err := json.Marshal(request)
		if err != nil {
			return wrap(err)
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return wrap(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	if request != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	if err != nil {
		return wrap(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return wrap(err)
	}
	if res.StatusCode/100 != 2 {
		var p Problem
		if json.Unmarshal(raw, &p) != nil || p.Code == "" {
			return wrap(fmt.Errorf("%w: HTTP %d", ErrInternal, res.StatusCode))
		}
		return wrap(p.Err())
	}
	if err := json.Unmarshal(raw, &reply); err != nil {
		return wrap(fmt.Errorf("unreadable answer: %w", err))
	}
	return reply, nil
}
