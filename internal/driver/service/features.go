package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/policy"
	"github.com/windlass-db/windlass/internal/rolling"
)

// Gates opens a version's features by asking the engine's nodes, each at an URL of its own:
//
//	GET  {"open": false, "used": ["priorities"]}   404: the node knows no such version, and has none of its features
//	PUT  {"open": true, "term": 7}                 opens them, again and again; 409: a higher term was seen
//
// The table is kept beside: it says since when they are open, and what is used. They are open when the table and every node say so.
type Gates struct {
	Features
	URL string // with placeholders
}

// said is a node's answer.
type said struct {
	Open bool     `json:"open"`
	Used []string `json:"used"`
}

// Open tells whether the version's features are open everywhere. A node that has them open before they were opened, or has one in use, is named.
func (g Gates) Open(ctx context.Context, c fleet.Cluster, version string, named []policy.Feature) (open bool, used []string, err error) {
	g.told = true
	open, used, counted := g.Features.Open(ctx, c, version, named)
	all := open
	for _, cell := range c.Cells {
		for _, n := range cell.Nodes {
			s, err := g.ask(ctx, c, n, version)
			if err != nil {
				return false, used, errors.Join(counted, err)
			}
			all = all && s.Open
			if s.Open && !open {
				used = append(used, n.Name+" says that they are open")
			}
			if !open {
				used = append(used, s.Used...)
			}
		}
	}
	slices.Sort(used)
	return all, slices.Compact(used), counted
}

// SetOpen opens them in the table, and then at every node.
func (g Gates) SetOpen(ctx context.Context, c fleet.Cluster, version string, term int64) error {
	if err := g.Features.SetOpen(ctx, c, version, term); err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{"open": true, "term": term})
	if err != nil {
		return err
	}
	var errs []error
	for _, cell := range c.Cells {
		for _, n := range cell.Nodes {
			code, answer, err := g.call(ctx, c, n, version, http.MethodPut, body)
			switch {
			case err != nil:
			case code == http.StatusConflict:
				err = fmt.Errorf("%s has seen a higher term than %d: %w", n.Name, term, engine.ErrFenced)
			case code < 200 || code > 299:
				err = fmt.Errorf("%s does not open the features of %s: %d %s: %s", n.Name, version, code, http.StatusText(code), short(answer))
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (g Gates) ask(ctx context.Context, c fleet.Cluster, n fleet.Node, version string) (s said, err error) {
	code, answer, err := g.call(ctx, c, n, version, http.MethodGet, nil)
	switch {
	case err != nil:
		return s, err
	case code == http.StatusNotFound:
		return s, nil
	case code != http.StatusOK:
		return s, fmt.Errorf("%s does not say whether the features of %s are open: %d %s: %s", n.Name, version, code, http.StatusText(code), short(answer))
	}
	if err := json.Unmarshal(answer, &s); err != nil {
		return s, fmt.Errorf("what %s says of the features of %s is not {\"open\": …, \"used\": […]}: %s", n.Name, version, short(answer))
	}
	return s, nil
}

func (g Gates) call(ctx context.Context, c fleet.Cluster, n fleet.Node, version, method string, body []byte) (code int, answer []byte, err error) {
	url, err := expand(g.URL, Unit{Ref: c.Ref(), Node: n, Version: version})
	if err != nil {
		return 0, nil, err
	}
	if code, answer, err = call(ctx, g.Timeout, method, url, body); err != nil {
		return 0, nil, fmt.Errorf("ask %s for the features of %s: %w", n.Name, version, err)
	}
	return code, answer, nil
}

// call makes one request, of that time or 5 s, on a connection of its own: one that was kept would be of the node as it was. What it is sent
// to elsewhere it does not follow.
func call(ctx context.Context, timeout time.Duration, method, url string, body []byte) (code int, answer []byte, err error) {
	if timeout == 0 {
		timeout = 5 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	t := &http.Transport{DisableKeepAlives: true}
	defer t.CloseIdleConnections()
	client := &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, mostAnswer))
	return resp.StatusCode, answer, err
}

// Compile-time check: it is what the rolling strategy asks for.
var _ rolling.Features = Gates{}
