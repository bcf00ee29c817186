# What a contributor types. `make test` needs Go, git, make and CA certificates, and root on Debian or Ubuntu where more is missing.

TOOLS := .tools

# After this time a suite hangs. A busy machine takes three times as long as an idle one.
HANGS := 45m

.PHONY: test test-bare short setup lint bench fuzz image sbom testssl reliability env

# Everything: sets up what is missing (and says what it installs), then all tests with the race detector.
test: setup image lint sbom
	go test -race ./... -short -timeout $(HANGS)
	go test -run '^$$' -bench . -benchtime 1x ./internal/registry ./internal/ratelimit ./modules/proxy
	tests/fuzz 300x
	go test -race -count=1 -timeout $(HANGS) ./tests
	go test -race -count=1 -timeout $(HANGS) -parallel 3 ./tests/acme # they mostly wait
	go test -race -count=1 -timeout $(HANGS) ./tests/storage
	go test -race -count=1 -timeout $(HANGS) ./tests/attacks
	go test -race -count=1 -timeout $(HANGS) ./tests/reliability

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
	$(TOOLS)/staticcheck ./...
	deploy/vulncheck

# A claim about speed has a benchmark here.
bench:
	go test -run '^$$' -bench . ./internal/registry ./internal/ratelimit ./modules/proxy

# What parses bytes from outside, for longer than `make test` does.
fuzz:
	tests/fuzz 30s

# The image edge:dev, also where Docker can fetch no base image.
image:
	deploy/image

# What the program is made of: edge.cdx.json, in CycloneDX.
sbom:
	deploy/sbom

# What testssl.sh says of the edge's TLS.
testssl:
	tests/testssl

# The edge beside stock Caddy, nginx and HAProxy, in everything that can happen to a stack: writes docs/reliability.md.
reliability: setup image
	go run ./tests/reliability

# A .env with new secrets. A file that is there already is never touched.
env:
	go run ./cmd/edge init

$(TOOLS)/gofumpt: tools/go.mod
	go build -C tools -o ../$@ mvdan.cc/gofumpt

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
