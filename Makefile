# The two that matter: `make demo` shows it at work, `make test` proves it. Each installs what is
# missing (Debian or Ubuntu with a Rust toolchain, as root or with sudo).

.PHONY: help demo test test-long lint bench bench-rotation bench-criterion deps

help:
	@echo 'make demo    a throw-away PostgreSQL, the proxy, and load, live (ARGS="--duration 60s")'
	@echo 'make test    formatting, lints, documentation, and every test on real servers'
	@echo 'make test-long  the same in its long forms (docs/testing.md), about an hour'
	@echo 'make lint    the first three of these'
	@echo 'make bench   beside direct connections, haproxy and PgBouncer (ARGS=--quick: two minutes)'
	@echo 'make bench-rotation  what a change of users costs clients (ARGS=--long: leases of a minute)'
	@echo 'make bench-criterion  the benchmarks of single functions'
	@echo 'make deps    only installs what demo and test need'

# As root too: the demo runs PostgreSQL as another user by itself.
demo:
	@scripts/install-deps --demo
	cargo build --locked --profile demo
	$${CARGO_TARGET_DIR:-target}/demo/leasehold demo $(ARGS)

test:
	@scripts/install-deps
	@scripts/install-nextest
	@scripts/test $(ARGS)

test-long:
	@scripts/install-deps
	@scripts/install-nextest
	@scripts/test --long $(ARGS)

lint:
	@scripts/lint

bench:
	@scripts/install-deps --bench
	cargo build --locked --release
	@benches/bench $(ARGS)

bench-rotation:
	@scripts/install-deps --bench
	cargo build --locked --release
	@benches/rotation.sh $(ARGS)

bench-criterion:
	cargo bench --locked --features bench -- $(ARGS)

deps:
	@scripts/install-deps
	@scripts/build-vault-server
	@scripts/install-drivers
