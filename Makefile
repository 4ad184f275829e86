# make            lists the targets
# make test       everything that must pass before a change lands
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

GO      ?= go
MODULES := . ./cmd/poise ./metrics ./tracing ./test/live ./test/browser ./test/grpc
FUZZ    ?= 30s
SOAK    ?= 30m
SOAK_RACE ?= 2m
PACKAGES = $$($(GO) list ./... | grep -v -e /test/real -e /test/quality -e /test/fair -e /test/bench -e /test/faults -e /test/observe -e /test/packages -e /test/h2spec -e /test/clients)

.PHONY: help test deps vet check unit race real observe h2spec clients clients-deps grpc grpc-deps edges faults quality fair cost before operate bench balance conformance live live-deps browser browser-deps fuzz soak script bigendian build packages packaging packaging-deps all

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

test: deps vet unit race real h2spec clients grpc observe edges packaging quality fair cost ## all suites, installing what they need (about half an hour)
	@echo "all suites passed"

deps: ## nginx, wrk, curl, ip and Prometheus from Debian's packages, for the suites with real programs
	@missing=; for c in nginx wrk curl taskset ip prometheus promtool; do PATH=$$PATH:/usr/sbin command -v $$c >/dev/null || missing="$$missing $$c"; done; \
	if [ -n "$$missing" ]; then echo "== installing$$missing"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nginx-light wrk curl util-linux iproute2 prometheus >/dev/null; fi
	@for m in $(MODULES); do (cd $$m && $(GO) mod download); done
	@cd tools && GOWORK=off $(GO) mod download

vet: ## gofmt, go vet, staticcheck, and a build for the systems without event loops
	@echo "== gofmt, go vet"
	@files=$$(gofmt -l .); if [ -n "$$files" ]; then echo "not formatted by gofmt:"; echo "$$files"; exit 1; fi
	@for m in $(MODULES); do (cd $$m && $(GO) vet ./...); done
	@echo "== staticcheck"
	@check=$$(cd tools && GOWORK=off $(GO) tool -n staticcheck); for m in $(MODULES); do (cd $$m && $$check ./...); done; cd tools/packages && GOWORK=off $(GO) vet . && GOWORK=off $$check .
	@for os in darwin windows; do echo "== build for $$os"; \
		for m in . ./cmd/poise; do (cd $$m && GOOS=$$os $(GO) build -o /dev/null ./...); done; done
	@echo "== vet for a machine of the other byte order"; GOOS=linux GOARCH=s390x $(GO) vet ./internal/engine/... .

check: ## what must agree: documents, configuration, policies, reasons, import ranks (half a minute)
	@files=$$(gofmt -l .); if [ -n "$$files" ]; then echo "not formatted by gofmt:"; echo "$$files"; exit 1; fi
	@failed=; $(GO) test ./test/docs ./config ./configfile ./internal/compile ./internal/reason || failed=1; \
	$(GO) test -run '^TestSuite$$' ./policy || failed=1; $(GO) test ./layout_test.go || failed=1; [ -z "$$failed" ]

observe: ## Prometheus itself scrapes Poise: its checks, the alert rules, the queries of the Grafana board
	@echo "== beside Prometheus"
	$(GO) test -count=1 ./test/observe

h2spec: ## HTTP/2 towards clients, judged by h2spec on every engine, over TLS and in the clear
	@echo "== h2spec"
	$(GO) test -count=1 ./test/h2spec

grpc: grpc-deps ## clients and servers of gRPC, in Go and in Python, through Poise; a rolling restart; the example of docs/grpc.md
	@echo "== gRPC"
	cd test/grpc && $(GO) test -count=1 -timeout 15m ./...

grpc-deps: ## grpcio for Python, once, into ~/.cache/poise-grpc
	@cache=$${XDG_CACHE_HOME:-$$HOME/.cache}/poise-grpc; if ! $$cache/bin/python -c 'import grpc, google.protobuf' 2>/dev/null; then \
		python3 -c 'import venv, ensurepip' 2>/dev/null || { echo "== installing python3-venv"; \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >/dev/null; }; \
		echo "== fetching grpcio"; rm -rf $$cache; python3 -m venv $$cache && $$cache/bin/pip install -q --disable-pip-version-check grpcio==1.85.3 protobuf==7.36.2; fi
	@cd tools/grpc && GOWORK=off $(GO) mod download

clients: clients-deps ## other people's clients of HTTP/2: curl, nghttp, h2load, httpx, Node (a minute and a half)
	@echo "== clients of HTTP/2"
	$(GO) test -count=1 -timeout 10m ./test/clients

clients-deps: ## those clients: from Debian's packages, and httpx from PyPI, once, into ~/.cache/poise-clients
	@missing=; for c in curl:curl nghttp:nghttp2-client h2load:nghttp2-client node:nodejs python3:python3; do \
		command -v $${c%:*} >/dev/null || missing="$$missing $${c#*:}"; done; \
	python3 -c 'import venv, ensurepip' 2>/dev/null || missing="$$missing python3-venv"; \
	if [ -n "$$missing" ]; then echo "== installing$$missing"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi
	@cache=$${XDG_CACHE_HOME:-$$HOME/.cache}/poise-clients; if ! $$cache/bin/python -c 'import httpx, h2' 2>/dev/null; then \
		echo "== fetching httpx"; python3 -m venv $$cache && $$cache/bin/pip install -q --disable-pip-version-check 'httpx[http2]==0.28.*'; fi

bigendian: ## the event loop's tests on s390x, by emulation
	@command -v qemu-s390x >/dev/null || { echo "== installing qemu-user"; apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq qemu-user >/dev/null; }
	GOOS=linux GOARCH=s390x $(GO) test -c -o $${TMPDIR:-/tmp}/poise-loop-s390x.test ./internal/engine/loop
	cd internal/engine/loop && qemu-s390x $${TMPDIR:-/tmp}/poise-loop-s390x.test -test.timeout 10m -test.skip OverTLS

unit: ## unit tests, scripts on every engine, properties, fuzz seeds
	@echo "== unit tests and scripts"
	$(GO) test -timeout 30m $(PACKAGES)
	cd cmd/poise && $(GO) test ./...
	cd metrics && $(GO) test ./...
	cd tracing && $(GO) test ./...
	@echo "== with invariants: buffers that were given back are poisoned"
	$(GO) test -tags invariants ./internal/engine/loop/... ./internal/buffer ./internal/downstream/h1 ./test/loop ./test/script ./test/conformance ./test/differential ./internal/mux ./test/h2

race: ## the same under the race detector
	@echo "== race detector"
	$(GO) test -race -short -timeout 30m $(PACKAGES)

script: ## behaviour scripts only: test/script/*.txtar on every engine
	$(GO) test -v ./test/script

real: deps ## poise run in front of nginx, with curl and wrk
	@echo "== real servers"
	$(GO) test -count=1 -timeout 10m ./test/real

edges: deps ## endpoints that fail under load, a clock that jumps: the short form
	@echo "== faults"
	$(GO) test -count=1 -timeout 15m ./test/faults

faults: deps ## the same for every number of endpoints, beside nginx and HAProxy: writes docs/faults.md (20 minutes)
	@PATH=$$PATH:/usr/sbin command -v haproxy >/dev/null || { echo "== installing haproxy"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq haproxy >/dev/null; }
	$(GO) test -count=1 -v -timeout 60m ./test/faults -args -write ../../docs/faults.md

quality: deps ## latency under an uneven load, beside nginx
	@echo "== balancing quality"
	$(GO) test -count=1 -v -timeout 10m ./test/quality

fair: ## event loops: shares, probes in time, garbage collection
	@echo "== fairness of event loops"
	$(GO) test -count=1 -timeout 10m ./test/fair

cost: deps ## CPU per request beside httputil.ReverseProxy
	@echo "== CPU per request"
	$(GO) test -count=1 -v -timeout 10m ./test/bench

before: deps ## CPU and instructions per request beside an older build: make before BEFORE=/path/to/poise
	@command -v valgrind >/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq valgrind >/dev/null; }
	$(GO) test -count=1 -v -timeout 30m ./test/bench -run 'TestInstructions|TestBefore' -args -before $(BEFORE)

operate: deps ## CPU per request with access log, scraped metrics and tracing beside that without (6 minutes)
	@echo "== what the operator's side costs"
	$(GO) test -count=1 -v -timeout 30m ./test/bench -run TestOperatorsSide -args -operate

bench: ## beside nginx, HAProxy, Envoy, Caddy: writes docs/benchmarks.md (an hour); BENCH_ONLY=h1,tls BENCH_ROUNDS=2 for less
	@echo "== beside the peers, which are installed first"
	$(GO) test -count=1 -v -timeout 90m ./test/peers -run TestPeers -args -bench

balance: deps ## balancing in ten situations beside nginx, HAProxy, Envoy: writes docs/balancing.md (50 minutes); BALANCE_ROWS=slow,stall BALANCE_ROUNDS=1 for less
	@echo "== balancing beside the peers, which are installed first"
	$(GO) test -count=1 -v -timeout 120m ./test/peers -run 'TestBalancing$$' -args -balance -balance-write $(CURDIR)/docs/balancing.md

conformance: ## HTTP/1.1 and HTTP/2 case by case, beside nginx and HAProxy: writes docs/conformance.md and docs/conformance-http2.md
	@missing=; for c in nginx haproxy; do PATH=$$PATH:/usr/sbin command -v $$c >/dev/null || missing="$$missing $$c"; done; \
	if [ -n "$$missing" ]; then echo "== installing$$missing"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq nginx-light haproxy >/dev/null; fi
	$(GO) test -count=1 -timeout 10m ./test/conformance -write ../../docs/conformance.md
	$(GO) test -count=1 -timeout 10m -run 'TestPage$$' ./test/h2 -write ../../docs/conformance-http2.md

live: live-deps ## the real servers of the registries (about 10 minutes, the first time 25); LIVE_ONLY=etcd34,consul,mesh selects
	@echo "== registries"
	cd test/live && $(GO) test -count=1 -timeout 25m -parallel 8

live-deps: ## builds or unpacks those servers, once, into $POISE_LIVE_CACHE (~/.cache/poise-live); gRPC for Python from Debian's packages
	@/usr/bin/python3 -c 'import grpc, cryptography' 2>/dev/null || { echo "== installing python3-grpcio"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-grpcio python3-cryptography >/dev/null; }
	@echo "== servers of registries"
	@cd test/live && $(GO) run ./deps

browser: browser-deps ## Chromium: the page of the admin API, with axe-core; gRPC-Web, WebSockets (3 minutes); pictures go to $POISE_SHOTS
	@echo "== in Chromium"
	cd test/browser && $(GO) test -count=1 -timeout 15m

browser-deps: ## Chromium and fonts from Debian's packages, axe-core and clients of gRPC-Web from npm, once, into ~/.cache/poise-browser
	@missing=; command -v chromium chromium-browser google-chrome >/dev/null || missing=chromium; \
	[ -n "$$(fc-list :lang=zh 2>/dev/null)" ] || missing="$$missing fontconfig fonts-noto-cjk"; \
	if [ -n "$$missing" ]; then echo "== installing $$missing"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi
	@cache=$${XDG_CACHE_HOME:-$$HOME/.cache}/poise-browser; if [ ! -f $$cache/package/axe.min.js ] || [ ! -d $$cache/clients/node_modules/grpc-web ]; then \
		command -v npm >/dev/null || { echo "== installing npm"; \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends npm >/dev/null; }; \
		echo "== fetching axe-core"; mkdir -p $$cache && cd $$cache && rm -f axe-core-*.tgz && \
		npm pack --silent axe-core@4 >/dev/null && tar xzf axe-core-4*.tgz package/axe.min.js; \
		echo "== fetching clients of gRPC-Web"; npm install --silent --no-audit --no-fund --prefix $$cache/clients \
			grpc-web@1 @connectrpc/connect@2 @connectrpc/connect-web@2 @bufbuild/protobuf@2 >/dev/null; fi

fuzz: ## every fuzz target for FUZZ (30s)
	@for p in $$($(GO) list ./...); do for f in $$($(GO) test -list '^Fuzz' $$p | grep ^Fuzz || true); do \
		echo "== $$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZ) $$p; done; done

soak: ## every way to behave badly, for SOAK (30m), and before that for SOAK_RACE (2m) under the race detector
	@echo "== soak under the race detector"
	$(GO) test -race -tags invariants -count=1 -v -timeout 0 ./test/soak -for $(SOAK_RACE)
	@echo "== soak"
	$(GO) test -count=1 -v -timeout 0 ./test/soak -for $(SOAK) -engine loop

build: ## the binary, as bin/poise
	$(GO) build -trimpath -o bin/poise ./cmd/poise

packages: ## deb, rpm and tar.gz for amd64 and arm64, into dist/; VERSION=v1.2.3 instead of what git describe says
	cd tools/packages && GOWORK=off $(GO) run . -version "$(VERSION)"

packaging: packaging-deps ## what the packages have in them, the unit, the image, the chart
	@echo "== packages"
	$(GO) test -count=1 ./test/packages

packaging-deps: ## systemd-analyze and groff from Debian's packages
	@missing=; for c in systemd-analyze:systemd groff:groff dpkg-deb:dpkg; do command -v $${c%:*} >/dev/null || missing="$$missing $${c#*:}"; done; \
	if [ -n "$$missing" ]; then echo "== installing$$missing"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi
