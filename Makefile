.DEFAULT_GOAL := help

PLUGINS := coop-door sprinkler
WASM := target/wasm32-wasip2/guest

help: ## show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-10s %s\n", $$1, $$2 }'

# Puts a file where a running host, or anybody else, sees the old one or the new one and nothing between; and leaves it
# alone when it is the same.
define put
cmp -s $(1) $(2) || { cp $(1) $(dir $(2)).$(notdir $(2)).new && mv $(dir $(2)).$(notdir $(2)).new $(2); }
endef

plugins: ## build the sample plugins, and the guest that benchmarks use
	cargo build --quiet --profile guest --target wasm32-wasip2 $(PLUGINS:%=-p %)
	cargo build --quiet --profile guest --target wasm32-wasip2 -p roost-guests --example burst
	@mkdir -p target/guests
	@$(foreach name,$(PLUGINS),$(call put,$(WASM)/$(subst -,_,$(name)).wasm,plugins/$(name).wasm) && ):
	@$(call put,$(WASM)/examples/burst.wasm,target/guests/burst.wasm)

guests: ## build the plugins that the tests use, ordinary and hostile ones
	cargo build --quiet --profile guest --target wasm32-wasip2 -p roost-guests --examples
	@mkdir -p target/guests
	@$(foreach source,$(filter-out tests/guests/lib.rs tests/guests/generate.rs,$(wildcard tests/guests/*.rs)),$(call put,$(WASM)/examples/$(subst -,_,$(basename $(notdir $(source)))).wasm,target/guests/$(basename $(notdir $(source))).wasm) && ):
	cargo run --quiet -p roost-guests --bin generate-guests target/guests

.PHONY: help plugins guests
