# Lavender. `make run` watches this host; `make test` runs the whole suite. See README.md.

ARGS ?=
CARGO ?= cargo

# What building the sensor needs, by Debian's names, and what the tests need besides.
BUILD_PACKAGES := gcc libc6-dev make pkg-config clang libelf-dev zlib1g-dev
FLEET_PACKAGES := postgresql python3-venv
TEST_PACKAGES := qemu-system-x86 busybox-static cpio iproute2 postgresql python3-venv chromium

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
SUDO := $(shell [ "$$(id -u)" = 0 ] || command -v sudo)

.PHONY: run replay fleet fleet-check chaos test kernels bench bench-fleet bench-peers bench-sensor build-packages fleet-packages sensor-peers test-packages rust

## Builds the agent and watches this host, with its dashboard at http://127.0.0.1:8080. ARGS are the agent's:
## make run ARGS="--events"
run: rust build-packages
	@$(CARGO) build --release -p lavender-agent
	@$(SUDO) $(TARGET_DIR)/release/lavender-agent run $(ARGS)

## Shows alerts from the bundled capture: no root, no clang, no BTF.
replay: rust
	@$(CARGO) build --release -p lavender-agent --no-default-features
	@$(TARGET_DIR)/release/lavender-agent replay $(ARGS)

## A whole fleet on this machine: broker, database, every worker, a control plane, an agent; says where the dashboard is, and
## shows alerts as they are stored. make fleet ARGS="--listen 127.0.0.1:8080"
fleet: rust build-packages fleet-packages
	@$(CARGO) build --release -p lavender-agent -p lavender-worker -p lavender-control-plane -p lavender-fleet
	@nats=$$(.ci/nats-server) && $(SUDO) $(TARGET_DIR)/release/lavender-fleet up --nats-server "$$nats" $(ARGS)

## The same, to show that it does what it should; the last line is the figures. make fleet-check ARGS="--acts 200"
fleet-check: rust build-packages fleet-packages
	@$(CARGO) build --release -p lavender-agent -p lavender-worker -p lavender-control-plane -p lavender-fleet
	@nats=$$(.ci/nats-server) && $(SUDO) $(TARGET_DIR)/release/lavender-fleet check --nats-server "$$nats" $(ARGS)

## Every process and server of a fleet killed in turn, under load; the last line is the figures. Fails when something does
## not hold. make chaos ARGS="--events 3000000 --agents 50 --kills 30 --seed 1"; --cluster, --outage 60, --spool-bytes N
chaos: rust build-packages fleet-packages
	@$(CARGO) build --release -p lavender-worker -p lavender-fleet
	@nats=$$(.ci/nats-server) && $(TARGET_DIR)/release/lavender-fleet chaos --nats-server "$$nats" $(ARGS)

## The whole suite: formatting, lints, tests, documentation, a second kernel under QEMU.
test: rust build-packages test-packages
	@.ci/test

## The sensor on each kernel of the README's table, under QEMU: every probe, every live test. About 5 minutes a kernel.
kernels: rust build-packages test-packages
	@.ci/kernels

## The benchmarks.
bench: rust
	$(CARGO) bench -p lavender-benches

## What the fleet's stages take beside the bare things below them, with servers of its own; the last line is the ratios.
## ARGS are the rounds, and parts of it: make bench-fleet ARGS="11 postgres stages"
bench-fleet: rust fleet-packages
	@$(CARGO) bench -p lavender-benches --bench fleet -- $(ARGS)

## The rule engine beside others, on the same rules and events; SIGMA_RULES=DIR adds the public rules. The last line is
## the ratios. ARGS are those of lavender-peers: make bench-peers ARGS="--rounds 21"; ARGS="correlations" is correlation
## beside rsigma-eval's instead: cost, alerts and memory.
bench-peers: rust
	@benches/peers/run $(ARGS)

## What the sensor costs the programs that it watches, beside auditd and bpftrace. make bench-sensor ARGS="--rounds 7"
bench-sensor: rust build-packages sensor-peers
	@benches/sensor $(ARGS)

rust:
	@command -v $(CARGO) >/dev/null || { \
	  echo "Lavender is built with Rust 1.89 or newer, and cargo is not on the PATH. See https://rustup.rs" >&2; exit 1; }

ifndef SKIP_INSTALL
build-packages:
	@.ci/install $(BUILD_PACKAGES)

fleet-packages:
	@.ci/install $(FLEET_PACKAGES)

sensor-peers:
	@.ci/install bpftrace

test-packages:
	@.ci/install $(TEST_PACKAGES)
endif
