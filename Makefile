# Windlass: `make demo` runs the main job, `make test` passes the tests; both set up what they need.
SHELL := /bin/bash
GO ?= go
GOFLAGS ?=
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
BIN := bin

.DEFAULT_GOAL := help
.PHONY: help build demo demo-rolling test fuzz race lint bench bench-replay matrix generate clean setup

help: ## show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

build: ## build windlass, windlass-gateway and the demo's engine in its two versions into bin/
	@mkdir -p $(BIN)
	$(GO) build -o $(BIN)/ ./cmd/... ./examples/jobs/...

demo: build ## raise a local fleet from MariaDB 10.11 to 11.8, on real servers
	./$(BIN)/windlass demo bluegreen

demo-rolling: build ## raise six nodes of a workflow engine, behind HAProxy over PostgreSQL, to its next version
	./$(BIN)/windlass demo rolling

setup: ## install the programs that the tests drive
	./scripts/setup

# vet has run before, and no debugger will: tables for one cost time to link. Three packages at a time, as tests wait for servers: two left a quarter of two processors idle, three a seventh.
QUICK := -vet=off -ldflags=-w -timeout 20m

test: setup build ## all tests, on real servers
	$(GO) vet ./...
	$(GO) test $(QUICK) -p 3 $$($(GO) list ./... | grep -v '/internal/faults$$')
	$(MAKE) --no-print-directory fuzz FUZZ=500x
	$(GO) test $(QUICK) ./internal/faults

# How many inputs for each target, or for how long: FUZZ=10m. What is found is kept under testdata/fuzz, as a test for ever.
FUZZ ?= 50000x

fuzz: ## malformed packets and texts, beyond the ones that every test run tries
	@for at in wire:FuzzPackets wire:FuzzParsers wire:FuzzReply gateway:FuzzClient gateway:FuzzLogin gateway:FuzzServer gateway:FuzzScan config:FuzzRead query:FuzzAppend capture:FuzzReader capture/source:FuzzLogs rowhash:FuzzDefinition rowhash:FuzzPieces; do \
	  echo "$${at##*:}, $(FUZZ)"; \
	  $(GO) test ./internal/$${at%%:*} -run '^$$' -fuzz "^$${at##*:}\$$" -fuzztime $(FUZZ) -timeout 2h >fuzz.out 2>&1 || { cat fuzz.out; exit 1; }; \
	done; rm -f fuzz.out

race: setup ## the concurrent packages under the race detector
	$(GO) test -race -timeout 30m ./internal/...

lint: ## gofmt, vet and staticcheck
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "gofmt would change these files"; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

bench: setup build ## the performance claims, as ratios within one run
	$(GO) run ./internal/bench/decide
	$(GO) run ./internal/bench/plan
	$(GO) test -run '^$$' -bench . -benchtime 1x -timeout 30m ./internal/gateway/... ./internal/driver/gateway/... ./internal/campaign/... ./internal/policy/... ./internal/server

bench-replay: setup ## replaying queries: against sysbench's own client and pt-upgrade, memory, lateness, hashes, capture
	./scripts/setup pt-upgrade
	$(GO) test -run '^$$' -bench . -benchtime 1x -timeout 30m ./internal/bench/replay
	$(GO) test -run '^$$' -bench . ./internal/rowhash ./internal/query ./internal/capture
	$(GO) test -run '^$$' -bench 'BenchmarkCapture$$' -benchtime 1x -timeout 30m ./internal/gateway

matrix: setup build ## every fault at every edge once more: more seeds in simulation, and anew on real servers (an hour and more)
	WINDLASS_SIM_SEEDS=10 $(GO) test -count=1 -timeout 2h ./internal/sim
	WINDLASS_FAULTS=all $(GO) test -count=1 -timeout 4h ./internal/faults
	WINDLASS_FAULTS=all $(GO) test -count=1 -timeout 1h ./internal/demo/jobs
	WINDLASS_MACHINE=1 $(GO) test -count=1 -timeout 10m -run TestUnitsOnARealMachine ./internal/driver/service

generate: ## write the golden files and the tables of the docs anew
	$(GO) test ./docs -update
	$(GO) test ./internal/cli -run TestHelp -update
	$(GO) test ./internal/campaign -run 'TestPlanText|TestEveryKeyWrong' -update
	$(GO) test ./internal/policy ./internal/fleet ./internal/notify ./internal/gateway ./internal/supervisor/settings ./internal/replay/judge -run TestEveryKeyWrong -update

clean: ## remove what build made
	rm -rf $(BIN)
