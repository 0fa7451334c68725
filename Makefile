.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

PLUGINS := coop-door greenhouse sprinkler timers
WASM := target/wasm32-wasip2/guest
GUESTS := $(patsubst tests/guests/%.rs,%,$(filter-out tests/guests/lib.rs tests/guests/generate.rs,$(wildcard tests/guests/*.rs)))
ORACLES := target/oracles
PEERS := target/peers
AXE := target/axe
BROKERS := target/brokers
# For installing packages: nothing when we are root.
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
INSTALL := $(SUDO) apt-get update -q && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -q -y

# Debian has it in a package of its own.
VENV := python3 -c 'import ensurepip' 2> /dev/null || { $(INSTALL) python3-venv; }

help: ## show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-14s %s\n", $$1, $$2 }'

run: wasm plugins ## build everything and run Roost with the sample plugins
	cargo run --release -p roost -- run

cluster: plugins ## run three hosts with a PostgreSQL and a Mosquitto of their own, to see what happens when one fails; Ctrl-C ends all
	cargo build --release -p roost
	cargo run --quiet --release -p roost-tests --example cluster

# Of this seed, twenty rounds have almost everything that can fail, and are short.
HOSTS_SEED := 267703

# Most end-to-end tests wait rather than compute, so two of them run on each core.
test: setup check plugins guests ## run all tests, after `check`
	cargo build --bins --tests
	@FROM=1000 RUST_TEST_THREADS=$$(( 2 * $$(nproc) )) cargo test --no-fail-fast 2>&1 | tee target/test.log
	@awk '/^test result:/ { passed += $$4; failed += $$6 } END { print passed " passed, " failed " failed" }' target/test.log
	@cargo test --quiet --test soak
	@ROUNDS=20 SEED=$(HOSTS_SEED) cargo test --quiet --test soak -- hosts
	@FROM=1000 $(MAKE) --no-print-directory sim
	@$(MAKE) --no-print-directory instructions

# Words that the code and the docs once had for `reported`, `the client`, `an event`, `without effect`.
NO_WORDS := 'told|untold|whoever|somebody|nobody|happening|in vain'

check: ## what must hold before anything is tested: format, lints, licences, words, docs
	cargo fmt --all --check
	cargo clippy --quiet --all-targets -- -D warnings
	cargo clippy --quiet -p roost-tests --test soak -- -D warnings
	cargo clippy --quiet --all-targets -p roost-scheduler --features mutants -- -D warnings
	cargo clippy --quiet --all-targets -p roost-lease --features mutants -- -D warnings
	@if command -v cargo-deny > /dev/null; then cargo deny check bans licenses sources; \
	else echo "cargo-deny is not installed: licences are not checked"; fi
	@! git grep -nwiE $(NO_WORDS) -- host plugin-sdk wit plugins tests docs README.md CHANGELOG.md || \
	{ echo "plain words, please: see the glossary in host/ARCHITECTURE.md"; exit 1; }
	RUSTDOCFLAGS="-D warnings" cargo doc --quiet --no-deps -p roost-scheduler -p roost-lease -p roost-plugin-sdk

setup: wasm brokers database browser ## install what building and testing need: the wasm target, Mosquitto, curl, sqlite3, PostgreSQL, Chromium, axe-core

wasm:
	@rustup target list --installed | grep -qx wasm32-wasip2 || rustup target add wasm32-wasip2

brokers:
	@[ -x /usr/sbin/mosquitto ] && for program in mosquitto_sub rsync curl openssl sqlite3; do command -v $$program > /dev/null || exit 1; done || \
	{ $(INSTALL) mosquitto mosquitto-clients rsync curl openssl sqlite3; }

# The tests start servers of their own, so the package makes none.
NO_CLUSTER := /etc/postgresql-common/createcluster.d/none.conf
database:
	@ls /usr/lib/postgresql/*/bin/postgres > /dev/null 2>&1 || command -v postgres > /dev/null || \
	{ $(SUDO) mkdir -p $(dir $(NO_CLUSTER)) && echo 'create_main_cluster = false' | $(SUDO) tee $(NO_CLUSTER) > /dev/null && \
	$(INSTALL) --no-install-recommends postgresql; }

# axe-core finds what shuts people out. Only the tests run it, and the tree has no copy of it.
browser:
	@command -v chromium > /dev/null || { $(INSTALL) --no-install-recommends chromium; }
	@[ -f $(AXE)/axe.min.js ] || { $(VENV) && python3 -m venv $(AXE) && \
	$(AXE)/bin/pip install --quiet --no-deps axe-playwright-python==0.1.8 && \
	cp $(AXE)/lib/python3*/site-packages/axe_playwright_python/axe.min.js $(AXE); } || \
	echo "axe-core was not fetched: the tests do not check accessibility"

# Puts a file where a running host, or anybody else, sees the old one or the new one and nothing between; and leaves it
# alone when it is the same.
define put
cmp -s $(1) $(2) || { cp $(1) $(dir $(2)).$(notdir $(2)).new && mv $(dir $(2)).$(notdir $(2)).new $(2); }
endef

plugins: wasm ## build the sample plugins, and the guest that benchmarks use
	cargo build --quiet --profile guest --target wasm32-wasip2 $(PLUGINS:%=-p %)
	cargo build --quiet --profile guest --target wasm32-wasip2 -p roost-guests --example burst
	@mkdir -p target/guests
	@$(foreach name,$(PLUGINS),$(call put,$(WASM)/$(subst -,_,$(name)).wasm,plugins/$(name).wasm) && ):
	@$(call put,$(WASM)/examples/burst.wasm,target/guests/burst.wasm)

guests: wasm ## build the plugins that the tests use, ordinary and hostile ones
	cargo build --quiet --profile guest --target wasm32-wasip2 -p roost-guests --examples
	@mkdir -p target/guests
	@$(foreach name,$(GUESTS),$(call put,$(WASM)/examples/$(subst -,_,$(name)).wasm,target/guests/$(name).wasm) && ):
	cargo run --quiet -p roost-guests --bin generate-guests target/guests

templates: brokers wasm languages ## build and run what `roost new` makes, in each language: ONLY="js python" picks
	cargo build --bins
	cargo test --quiet --test templates

languages:
	@command -v npm > /dev/null || { $(INSTALL) --no-install-recommends npm; }
	@$(VENV)

pictures: browser plugins guests ## draw the pictures of docs/page.md anew
	cargo build --bins
	UPDATE_PICTURES=1 cargo test --quiet -p roost-tests --test e2e page_pictures

bench: plugins guests ## measure speed and size; ONLY=word,word picks, BASE=file compares with an earlier target/bench.json
	cargo build --quiet --release -p roost
	mkdir -p target/tmp && TMPDIR=$(CURDIR)/target/tmp cargo bench --quiet -p roost-tests --bench figures -- $(if $(ONLY),--only $(ONLY)) $(if $(BASE),--base $(abspath $(BASE)))

instructions: ## count the core's instructions for a job, and compare them with the numbers kept: WRITE=1 writes them
	@command -v valgrind > /dev/null || { $(INSTALL) valgrind; }
	cargo bench --quiet -p roost-scheduler --bench instructions

sim: ## rehearse made-up histories, 10,000 unless HISTORIES=n says otherwise, fresh ones unless FROM=n names the first seed; SEED=n repeats one and prints it
	HISTORIES=$${HISTORIES:-10000} cargo test --quiet --profile sim -p roost-scheduler --test simulation -- histories --nocapture

sim-lease: ## the same for the lease, by which several hosts share a cell: a million histories unless HISTORIES=n says otherwise
	HISTORIES=$${HISTORIES:-1000000} cargo test --quiet --profile sim -p roost-lease --test simulation -- new_random_histories --nocapture

fuzz: ## try text, settings and plans that nobody would write: CASES=n of each, a million unless it is said; tests try a few hundred
	PROPTEST_CASES=$${CASES:-1000000} cargo test --quiet --profile sim -p roost-scheduler --test fuzz
	PROPTEST_CASES=$${CASES:-1000000} cargo test --quiet --profile sim -p roost fuzz::

deb: plugins $(if $(TARGET),cross) ## build a Debian package: the program, a service, manual pages, completions and the sample plugins; TARGET=… as for `cross`
	$(if $(TARGET),,cargo build --release -p roost)
	@rm -rf target/deb && mkdir -p target/deb
	$(BUILT) manual target/deb/man
	@$(BUILT) completions bash > target/deb/roost
	@$(BUILT) completions zsh > target/deb/_roost
	@$(BUILT) completions fish > target/deb/roost.fish
	@command -v cargo-deb > /dev/null || cargo install --locked cargo-deb
	cargo deb --quiet --no-build --no-strip -p roost $(if $(TARGET),--target $(TARGET)) --output target/debian/

deb-check: deb ## install, run, upgrade and remove that package in a root of its own; needs root
	@command -v debootstrap > /dev/null || { $(INSTALL) debootstrap; }
	$(SUDO) tests/package/try.sh "$$(ls -t target/debian/*.deb | head -1)" target/debian-root

# Images of a registry, unless IMAGE_FLAGS has `--build-arg BUILDER=…` and `--build-arg BASE=…`.
image: ## build a container image, `roost`, with podman, buildah or docker
	@builder=$$(command -v podman || command -v buildah || command -v docker) || \
	{ echo "error: an image needs podman, buildah or docker, and none is installed" >&2; exit 1; }; \
	case $$builder in */docker) format= ;; *) format="--format docker" ;; esac; \
	$$builder build $$format $(IMAGE_FLAGS) --tag roost --file Containerfile .

# Another processor, as Rust names it and as GCC does, and what runs its programs here.
CROSS := $(or $(TARGET),aarch64-unknown-linux-gnu)
CROSS_GNU := $(subst armv7,arm,$(subst -unknown,,$(CROSS)))
EMULATOR := qemu-$(firstword $(subst -, ,$(CROSS_GNU))) -L /usr/$(CROSS_GNU)
CROSS_KEY := CARGO_TARGET_$(shell echo $(CROSS) | tr a-z- A-Z_)
export $(CROSS_KEY)_LINKER := $(CROSS_GNU)-gcc
export $(CROSS_KEY)_RUNNER := $(EMULATOR)
BUILT = $(if $(TARGET),$(EMULATOR) target/$(TARGET)/release/roost,target/release/roost)

cross-tools:
	@rustup target list --installed | grep -qx $(CROSS) || rustup target add $(CROSS)
	@command -v $(CROSS_GNU)-gcc > /dev/null && command -v $(firstword $(EMULATOR)) > /dev/null || { $(INSTALL) gcc-$(CROSS_GNU) qemu-user; }

cross: cross-tools ## build the program for another processor: TARGET=name, by default aarch64-unknown-linux-gnu
	cargo build --release --target $(CROSS) -p roost

cross-test: cross-tools ## run the unit tests of the scheduler, the broker and the SDK in an emulator of that processor
	cargo test --target $(CROSS) --lib -p roost-scheduler -p roost-broker -p roost-plugin-sdk

soak: setup guests ## kill the host again and again while it works, and count: ROUNDS=n, SEED=n for the same moments, KEEP=1 to keep what shows faults
	cargo build --bins
	cargo test --quiet --test soak

soak-hosts: setup guests ## the same for three hosts that share a database, while servers, networks and clocks fail as well
	cargo build --bins
	cargo test --quiet --test soak -- hosts

mutants: ## break the core and the lease in one way after the other, and see that the simulations notice: ONLY=word picks, HISTORIES=n for each
	cargo test --quiet --profile sim -p roost-scheduler --features mutants --test simulation -- mutants --nocapture
	cargo test --quiet --profile sim -p roost-lease --features mutants --test simulation -- mutants --nocapture

# PYTHONTZPATH: the zones of `tzdata`, not the system's, which may be old.
# `--bin roost`, not `-p roost`: to select packages changes the features of what they share, and wasmtime would be built again.
oracles: ## compare `roost next` with another cron, with recurrence rules, with an ephemeris, and with the newest time zones
	cargo build --bin roost
	@[ -x $(ORACLES)/bin/pip ] || { $(VENV) && python3 -m venv $(ORACLES); }
	@$(ORACLES)/bin/pip install --quiet --upgrade cronsim ephem python-dateutil tzdata
	PYTHONTZPATH= $(ORACLES)/bin/python tests/oracles/cron.py target/debug/roost
	PYTHONTZPATH= $(ORACLES)/bin/python tests/oracles/days.py target/debug/roost
	$(ORACLES)/bin/python tests/oracles/sun.py target/debug/roost
	$(ORACLES)/bin/python tests/oracles/zones.py target/debug/roost

conformance: brokers guests ## try the link to the broker with RabbitMQ, aedes and amqtt, which it installs; ONLY=name picks one
	@[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || { $(INSTALL) --no-install-recommends rabbitmq-server; }
	@command -v npm > /dev/null || { $(INSTALL) --no-install-recommends npm; }
	@[ -x $(BROKERS)/amqtt/bin/pip ] || { $(VENV) && python3 -m venv $(BROKERS)/amqtt; }
	@$(BROKERS)/amqtt/bin/pip install --quiet -r tests/brokers/requirements.txt
	@mkdir -p $(BROKERS)/aedes && cp tests/brokers/package.json tests/brokers/package-lock.json $(BROKERS)/aedes
	@cd $(BROKERS)/aedes && npm ci --silent --no-audit --no-fund
	cargo build --bins
	@for broker in $(or $(ONLY),rabbitmq aedes aedes-0.51 amqtt); do echo "$$broker:"; \
		BROKER=$$broker cargo test --quiet --bin roost --test e2e another_broker -- --test-threads 1; done

home-assistant: ## try the devices in a real Home Assistant, which it installs: PYTHON=… names a Python 3.13 or 3.14, ONLY=word picks
	@python=$$(tests/home_assistant/install target/home-assistant); [ -n "$$python" ] || exit 0; \
	$(MAKE) --no-print-directory brokers plugins && cargo build --bin roost && \
	"$$python" tests/home_assistant/main.py target/debug/roost plugins $(ONLY)

bench-peers: brokers plugins ## run Roost and other schedulers at the same works: ROUNDS=n, ONLY=text
	cargo build --quiet --release -p roost
	@command -v redis-server > /dev/null || { $(INSTALL) redis-server; }
	@[ -x $(PEERS)/bin/pip ] || { $(VENV) && python3 -m venv $(PEERS); }
	@$(PEERS)/bin/pip install --quiet -r tests/peers/requirements.txt
	@mkdir -p target/tmp && TMPDIR=$(CURDIR)/target/tmp $(PEERS)/bin/python tests/peers/bench.py \
		--roost target/release/roost --burst target/guests/burst.wasm --json target/bench-peers.json \
		$(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(ONLY),--only "$(ONLY)")

.PHONY: help run cluster test check setup wasm templates languages brokers database browser plugins guests pictures deb deb-check image cross-tools cross cross-test bench bench-peers instructions conformance sim sim-lease fuzz soak soak-hosts mutants oracles home-assistant
