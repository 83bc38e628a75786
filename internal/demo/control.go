package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/driver/process"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/state"
)

// replayMark is where the campaign's rules for findings go.
const replayMark = "replay:\n"

// campaignYAML is the demo's campaign: qa before prod, two clusters in a stage, soaks and replays of seconds.
const campaignYAML = `kind: Campaign
version: 1
name: mariadb-11-8
product: mariadb
from: 10.11
to: 11.8
environments: [qa, prod]
limits: {per_stage: 2}
soak:
  stages: {switch-storage: 4s, switch-gateway: 4s}
  environments: 2s
schedule: {always: true, every: 1s}
budget: {campaign: 0, environment: 0, stage: 0}
replay:
  min_time: 3s
  delay: 1s
  latency: {timed: 0%}
switch: {hold_ttl: 10s, drain: 1s, min_interval: 0s}
record: {ttl: 1s}
`

// writeFiles writes the fleet, the campaign and the supervisors' files, as a user would.
func (p *place) writeFiles(serverURL string) error {
	type doc = map[string]any
	var envs []doc
	for _, env := range environments {
		var clusters []doc
		for _, c := range p.clusters {
			if c.Env != env {
				continue
			}
			cell := c.Cells[0]
			var nodes []doc
			for _, n := range cell.Nodes {
				nodes = append(nodes, doc{"name": n.Name, "address": n.Address})
			}
			clusters = append(clusters, doc{"name": c.Name, "product": c.Product, "record": c.Record, "cells": []doc{{"name": cell.Name, "version": "10.11", "owner": cell.Owner, "nodes": nodes,
				"gateway": doc{"name": cell.Gateway.Name, "address": cell.Gateway.Address, "read_only": cell.Gateway.ReadOnly, "admin": cell.Gateway.Admin}}}})
		}
		envs = append(envs, doc{"name": env, "clusters": clusters})
	}
	fleetText, err := yaml.Marshal(doc{"kind": "Fleet", "version": 1, "name": "demo", "environments": envs})
	if err != nil {
		return err
	}
	files := map[string][]byte{"fleet.yaml": fleetText, "campaign.yaml": []byte(campaignYAML)}
	for _, env := range environments {
		s := func(name string) string { return filepath.Join("secrets", name) }
		b, err := yaml.Marshal(doc{
			"kind": "Supervisor", "version": 1, "name": env + "-1", "environment": env, "watch_every": "2s",
			"server":   doc{"url": serverURL, "token_file": s("supervisor-" + env)},
			"mysql":    doc{"admin": doc{"user": adminUser, "password_file": s("admin")}},
			"gateways": doc{"admin_token_file": s("gateway-token"), "monitor_user": monitor},
			"dns":      doc{"server": p.dns.Address(), "zone": p.dns.Zone, "key_file": p.dns.KeyFile()},
			"replay": doc{"store": "file://" + filepath.Join(p.dir, "nodes", "{gateway}", "spool"), "results": "file://" + filepath.Join(p.dir, "replays"),
				"account": doc{"user": replayUser, "password_file": s("replay")}},
			"local": doc{"capture_every": "1s", "root": "nodes", "init_sql_file": s("accounts.sql"), "gateway_program": p.gateway, "gateway_port": p.port, "gateway_accounts_file": s("accounts.yaml"),
				"monitor_password_file": s("monitor")},
		})
		if err != nil {
			return err
		}
		files["supervisor-"+env+".yaml"] = b
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(p.dir, name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// control is a control plane in a folder: a server, and a supervisor for each environment, each a process of its own.
type control struct {
	dir       string
	processes []process.Spec // in the order of their start
}

func (p *control) secret(name, value string) (string, error) {
	path := filepath.Join(p.dir, "secrets", name)
	return path, os.WriteFile(path, []byte(value+"\n"), 0o600)
}

// startControl starts the server and the supervisors. files writes what they read, once the server's address is known.
func (p *control) startControl(ctx context.Context, self, listen string, environments []string, files func(serverURL string) error) (*api.Client, error) {
	base := "http://" + listen
	tokenFile := filepath.Join(p.dir, "secrets", "operator")
	start := func(name string, ready func(context.Context) error, argv ...string) error {
		dir := filepath.Join(p.dir, name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		s := process.Spec{Name: name, Dir: dir, Argv: append([]string{self}, argv...), Ready: ready}
		p.processes = append(p.processes, s)
		return s.Start(ctx)
	}
	answers := func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/healthz", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}
	if answers(ctx) == nil {
		return nil, fmt.Errorf("something answers at %s already: stop it, or choose another address with --listen", base)
	}
	if err := start("server", answers, "server", "--listen", listen, "--state", filepath.Join(p.dir, "server", "state.db"), "--operator-token-file", tokenFile, "--open-reads", "--lease", "10s"); err != nil {
		return nil, err
	}
	token, err := os.ReadFile(tokenFile)
	if err != nil {
		return nil, err
	}
	client, err := api.NewClient(base, strings.TrimSpace(string(token)), "")
	if err != nil {
		return nil, err
	}
	if err := files(base); err != nil {
		return nil, err
	}
	for _, env := range environments {
		secret, err := client.NewToken(ctx, state.Token{Role: "supervisor", Env: env, Name: env + "-1"})
		if err != nil {
			return nil, err
		}
		if _, err := p.secret("supervisor-"+env, secret); err != nil {
			return nil, err
		}
		if err := start("supervisor-"+env, nil, "supervisor", "--config", filepath.Join(p.dir, "supervisor-"+env+".yaml")); err != nil {
			return nil, err
		}
	}
	return client, nil
}

// applyFiles applies a fleet and a campaign as a user would, and gives the campaign's name.
func applyFiles(ctx context.Context, client *api.Client, files ...string) (name string, err error) {
	objects, err := config.ReadFiles(files, fleet.Kind(), campaign.Kind())
	if err != nil {
		return "", err
	}
	req := api.ApplyRequest{Who: "demo"}
	for _, obj := range objects {
		switch v := obj.Value.(type) {
		case fleet.Fleet:
			req.Fleet = &v
		case campaign.Campaign:
			req.Campaign, name = &v, v.Name
		}
	}
	_, err = client.Apply(ctx, req)
	return name, err
}

// stop ends the processes, the last one first: supervisors would start things again.
func (p *control) stop(ctx context.Context) error {
	var errs []error
	for i := len(p.processes) - 1; i >= 0; i-- {
		one := p.processes[i]
		grace, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := one.Stop(grace)
		cancel()
		if err != nil {
			err = one.Kill(ctx)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// waitFor polls until done says so, or the context ends.
func waitFor(ctx context.Context, every time.Duration, done func(context.Context) (bool, error)) error {
	for {
		ok, err := done(ctx)
		if err != nil || ok {
			return err
		}
		t := time.NewTimer(every)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
	}
}
