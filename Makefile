# What a contributor types. `make test` needs Go, git, make and CA certificates, and root on Debian or Ubuntu where more is missing.

TOOLS := .tools

# A suite that runs for longer than this hangs. A busy machine takes three times as long as an idle one.
HANGS := 45m

# The packages with the benchmarks that `make bench` runs.
BENCHMARKS := internal/discovery internal/registry internal/ratelimit modules/proxy

# Tests of package tests that measure delays of some milliseconds.
DELAYS := ^TestContainerChangesAreRoutedQuickly$$

STEP := @tests/step
# Lint runs go vet; and without debugging information, programs are linked faster.
GOTEST := go test -race -vet=off -ldflags=-w
SUITE := $(GOTEST) -count=1 -timeout $(HANGS)

.PHONY: test test-bare short setup lint bench bench-compare fuzz image sbom release release-images release-sign release-publish test-release test-upgrade test-delivery testssl reliability benchmark benchmark-traefik test-long projects edge-rollouts closes swarm test-kubernetes replica backups backup-bench incident runbooks collector status-page env

# Everything: sets up what is missing (and says what it installs), then runs all tests with the race detector. Each step prints
# how long it took.
test:
	$(STEP) setup tests/setup
	$(STEP) image deploy/image
	$(STEP) lint $(MAKE) --no-print-directory lint
	$(STEP) sbom deploy/sbom
	# Three at a time, since some wait.
	@packages=$$(tests/without-docker) && tests/step 'tests that need no Docker' $(GOTEST) -p 3 $$packages -short -timeout $(HANGS)
	$(STEP) 'benchmarks, once' go test -vet=off -run '^$$' -bench . -benchtime 1x $(addprefix ./,$(BENCHMARKS))
	$(STEP) fuzz tests/fuzz 300x
	# Nothing else runs beside tests of delays.
	$(STEP) 'tests of delays' $(SUITE) -run '$(DELAYS)' ./tests
	# Two at a time. Package tests loads both processors, and has beside it only what waits.
	$(STEP) 'tests, tests/storage, systemd' $(SUITE) -p 2 -parallel 2 -skip '$(DELAYS)' ./tests $(addprefix ./tests/,storage systemd)
	# In this order: what databases and backups need together is more than two processors have. The last ones fill the time for which one of the others is left alone.
	$(STEP) 'tests/backup, acme, observability, databases, handover, closes, registry, cdn' $(SUITE) -p 2 -parallel 2 $(addprefix ./tests/,backup acme observability databases handover closes registry cdn)
	$(STEP) tests/socketio $(SUITE) ./tests/socketio
	$(STEP) tests/attacks $(SUITE) ./tests/attacks
	$(STEP) tests/benchmark $(SUITE) ./tests/benchmark
	$(STEP) tests/reliability $(SUITE) ./tests/reliability

# The commands of the README in a privileged container of the bare Debian base, from a clone of HEAD.
test-bare:
	tests/bare

# What needs no Docker.
short:
	go test -race -short ./...

# The Docker Engine, Compose, Node and the test images. Changes nothing that is there.
setup:
	tests/setup

# Formatting and static checks, with the versions of tools/go.mod.
lint: $(TOOLS)/gofumpt $(TOOLS)/staticcheck
	@unformatted=$$($(TOOLS)/gofumpt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "not formatted, run gofumpt -w on: $$unformatted"; exit 1; fi
	go vet ./...
	go run ./tests/names
	$(TOOLS)/staticcheck ./...
	deploy/vulncheck

# A claim about speed has a benchmark here.
bench:
	go test -run '^$$' -bench . $(addprefix ./,$(BENCHMARKS))

# The benchmarks of the working tree and of BASE, 10 times each, compared: make bench-compare BASE=v1.0.0
bench-compare:
	@test -n '$(BASE)' || { echo 'usage: make bench-compare BASE=REVISION' >&2; exit 1; }
	tests/bench-compare '$(BASE)' $(BENCHMARKS)

# What parses bytes from outside, for longer than `make test` does.
fuzz:
	tests/fuzz 30s

# The image edge:dev, also where Docker can fetch no base image.
image:
	deploy/image

# What the program is made of: edge.cdx.json, in CycloneDX.
sbom:
	deploy/sbom

# The files of a release in dist, for VERSION=v1.2.3; its images, pushed to IMAGE; the signature of the files; and the release itself. The workflow calls them in this order.
release:
	deploy/release "$$VERSION"
release-images:
	deploy/release-images
release-sign:
	deploy/release-sign
release-publish:
	deploy/release-publish

# Two builds of a release are equal, their programs start on each platform, and their signatures hold; xcaddy builds the module; and the workflows run with act.
# 45 minutes.
test-release: setup image
	tests/release
	tests/xcaddy
	tests/workflows

# The configuration and the data of another revision, such as the last release, under this one, and back, as programs and in containers: make test-upgrade BASE=REVISION. Five minutes.
test-upgrade: setup image
	@test -n '$(BASE)' || { echo 'usage: make test-upgrade BASE=REVISION' >&2; exit 1; }
	EDGE_TEST_BASE='$(BASE)' $(SUITE) -v ./tests/upgrade

# The workflows for an application's repository run with act: from `git push` to the answer of the new version, over SSH. 1 GB goes to the registry and back. actionlint
# reads all workflows, and the conformance suite of the OCI specification runs with and without the edge. It needs sshd (openssh-server), and builds act first. 20 minutes.
test-delivery: setup image
	tests/delivery-setup
	$(TOOLS)/actionlint -ignore 'label "docker" is unknown' .github/workflows/*.yml deploy/ci/*.yml
	EDGE_TEST_DELIVERY=1 EDGE_TEST_GIGABYTES=1 $(SUITE) -v ./tests/registry

# What testssl.sh says of the edge's TLS.
testssl:
	tests/testssl

# The edge beside stock Caddy, nginx and HAProxy, in everything that can happen to a stack: writes docs/reliability.md.
reliability: setup image
	go run ./tests/reliability

# What the edge costs beside stock Caddy, nginx and HAProxy: writes docs/benchmark.md. Nothing else should run meanwhile.
benchmark: setup image
	go run ./tests/benchmark

# The same with Traefik beside them, with and without its fastProxy, which is built first, in about 20 minutes: small requests only, printed and not written. 25 minutes.
benchmark-traefik: setup image
	tests/traefik-setup
	go run ./tests/benchmark --proxies edge,caddy,nginx,haproxy,traefik,traefik-standard --cases 'Small' --out ''

# What package tests has beyond `make test`: further rollouts, two edges, other proxies' configurations, and so on. An hour.
test-long: setup image
	EDGE_TEST_LONG=1 $(SUITE) -timeout 2h -parallel 2 -v ./tests

# 300 containers of 60 Compose projects on one network; about five minutes.
projects: setup image
	EDGE_TEST_PROJECTS=60 $(SUITE) -v -run TestManyProjects ./tests

# The edge is replaced 20 times, under requests, uploads, downloads, waiting requests and WebSockets at once. 18 minutes.
edge-rollouts: setup image
	EDGE_TEST_ROLLOUTS=20 $(SUITE) -v -run 'TestManyRolloutsOfTheEdge' ./tests

# POSTs around 10,000 ends of connections by each of six servers, and 1,000 kills of one. 20 minutes.
closes: setup image
	EDGE_TEST_CLOSES=10000 EDGE_TEST_KILLS=1000 $(SUITE) -timeout 2h -v ./tests/closes

# Three Docker Engines in one Swarm: the shipped stack is deployed, tasks and edges are replaced, a node is drained and cut off, the manager freezes.
# Seven minutes. EDGE_TEST_ROUNDS=20 replaces them 20 times in each case.
swarm: setup image
	$(SUITE) -timeout 2h -v ./tests/swarm

# A Kubernetes cluster of one node: the API server checks the shipped manifests, pods and edges are replaced, the API server freezes and restarts. It takes
# a quarter of an hour to build the cluster's programs the first time, and seven minutes. EDGE_TEST_ROUNDS=20 replaces pods 20 times in each case.
test-kubernetes: setup image
	tests/kubernetes-setup
	$(SUITE) -timeout 2h -v ./tests/kubernetes

# A primary and a replica of the databases: 20 kills of the primary, 20 interrupted promotions, and all ways to lose the replica. About an hour and a half; `make test`
# has the first kill and the way to the other machine, in ten minutes.
replica: setup image
	EDGE_TEST_LONG=1 EDGE_TEST_KILLS=20 EDGE_TEST_INTERRUPTIONS=20 $(SUITE) -timeout 4h -v -run 'TestReplica|Move' ./tests/databases

# All faults of backups: backups under writes, backups and restores that are killed at random times, and crashes of the databases (20, 100, 50 and
# 20 of them), forged sets, full and broken disks, S3 that dies. It takes about three hours; `make test` has a part of it, in a quarter of an hour beside other suites.
backups: setup image
	EDGE_TEST_LONG=1 $(SUITE) -timeout 3h -v -skip 'UnderWrites|Killed(Backup|Restore)|SeededFaults|RecoveryPoint|ANewHost' ./tests/backup
	EDGE_TEST_BACKUPS=20 $(SUITE) -timeout 3h -v -run BackupsUnderWrites ./tests/backup
	EDGE_TEST_LONG=1 EDGE_TEST_KILLS=100 $(SUITE) -timeout 3h -v -run KilledBackup ./tests/backup
	EDGE_TEST_LONG=1 EDGE_TEST_KILLS=50 $(SUITE) -timeout 3h -v -run KilledRestore ./tests/backup
	EDGE_TEST_KILLS=10 $(SUITE) -timeout 3h -v -run ANewHost ./tests/backup
	EDGE_TEST_LONG=1 EDGE_TEST_FAULTS=11 $(SUITE) -timeout 3h -v -run SeededFaults ./tests/backup
	EDGE_TEST_LONG=1 EDGE_TEST_CRASHES=20 $(SUITE) -timeout 3h -v -run RecoveryPoint ./tests/backup

# Backup, restore, drill and a new host with 4 GB: seconds by step, and what requests notice of it. About an hour, and 25 GB of disk.
backup-bench: setup image
	EDGE_TEST_GIGABYTES=4 go test -count=1 -timeout 3h -v -run 'TestLargeData|TestCostOfLogs' ./tests/backup

# An application becomes slow, dies, and gets a bad version: which alerts fire, when, and what the figures and the page say, and then the edge runs out of descriptors.
# 25 minutes.
incident: setup image
	EDGE_TEST_INCIDENT=1 go test -count=1 -timeout 60m -v -run TestAnIncident ./tests/observability

# Runbooks are followed: a fault is made, its alert is there, what the runbook looks at says why, and what it does ends the alert. For MemoryAlmostFull, a container takes all of the
# machine's memory but for 4 %. 35 minutes.
runbooks: setup image
	EDGE_TEST_INCIDENT=1 go test -count=1 -timeout 90m -v -run TestRunbooks ./tests/observability
	go test -count=1 -timeout 30m -v -run TestRunbooks ./tests/acme

# The status page of 100 services with a day of messages, and of 1,000 with three hours of them. 5 minutes. EDGE_TEST_PICTURES is where the screenshots go.
status-page: setup image
	EDGE_TEST_SERVICES=100 go test -count=1 -timeout 30m -v -run TestTheStatusPageInABrowser ./tests
	EDGE_TEST_SERVICES=1000 go test -count=1 -timeout 30m -v -run TestTheStatusPageInABrowser ./tests

# Traces, sent to a real OpenTelemetry collector. 2 minutes, most of which build it.
collector:
	EDGE_TEST_COLLECTOR=1 go test -race -count=1 -timeout 15m -v ./tests/collector

# A .env with new secrets. A file that is there already is never touched.
env:
	go run ./cmd/edge init $(if $(DOMAIN),--domain '$(DOMAIN)')

$(TOOLS)/gofumpt: tools/go.mod
	go build -C tools -o ../$@ mvdan.cc/gofumpt

# Static, because the image has it, too.
$(TOOLS)/versitygw: tools/versitygw/go.mod
	CGO_ENABLED=0 go build -C tools/versitygw -trimpath -ldflags='-s -w' -o ../../$@ github.com/versity/versitygw/cmd/versitygw

$(TOOLS)/rest-server: tools/rest-server/go.mod
	CGO_ENABLED=0 go build -C tools/rest-server -trimpath -ldflags='-s -w' -o ../../$@ github.com/restic/rest-server/cmd/rest-server

$(TOOLS)/restic: tools/restic/go.mod
	CGO_ENABLED=0 go build -C tools/restic -trimpath -ldflags='-s -w' -o ../../$@ github.com/restic/restic/cmd/restic

$(TOOLS)/cosign: tools/cosign/go.mod
	CGO_ENABLED=0 go build -C tools/cosign -trimpath -ldflags='-s -w' -o ../../$@ github.com/sigstore/cosign/v3/cmd/cosign

$(TOOLS)/act: tools/workflows/go.mod
	CGO_ENABLED=0 go build -C tools/workflows -trimpath -ldflags='-s -w' -o ../../$@ github.com/nektos/act

$(TOOLS)/conformance: tools/conformance/go.mod
	CGO_ENABLED=0 go build -C tools/conformance -trimpath -ldflags='-s -w' -o ../../$@ github.com/opencontainers/distribution-spec/conformance

$(TOOLS)/actionlint: tools/workflows/go.mod
	CGO_ENABLED=0 go build -C tools/workflows -trimpath -ldflags='-s -w' -o ../../$@ github.com/rhysd/actionlint/cmd/actionlint

$(TOOLS)/xcaddy: tools/xcaddy/go.mod
	CGO_ENABLED=0 go build -C tools/xcaddy -trimpath -ldflags='-s -w' -o ../../$@ github.com/caddyserver/xcaddy/cmd/xcaddy

$(TOOLS)/otelcol: tools/otelcol/go.mod tools/otelcol/main.go
	go build -C tools/otelcol -trimpath -ldflags='-s -w' -o ../../$@ .

$(TOOLS)/benchstat: tools/go.mod
	go build -C tools -o ../$@ golang.org/x/perf/cmd/benchstat

$(TOOLS)/staticcheck: tools/go.mod
	go build -C tools -o ../$@ honnef.co/go/tools/cmd/staticcheck

$(TOOLS)/h2spec: tools/go.mod
	go build -C tools -o ../$@ github.com/summerwind/h2spec/cmd/h2spec

$(TOOLS)/govulncheck: tools/go.mod
	go build -C tools -o ../$@ golang.org/x/vuln/cmd/govulncheck

$(TOOLS)/cyclonedx-gomod: tools/go.mod
	go build -C tools -o ../$@ github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod

$(TOOLS)/pebble $(TOOLS)/pebble-challtestsrv: tools/go.mod
	go build -C tools -o ../$@ github.com/letsencrypt/pebble/v2/cmd/$(@F)
