# The commands that people look for. `make` lists them; `make -n NAME` shows what one runs.

.PHONY: help dev demo check test quick bench image release

help: ## lists these commands
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 18

dev: ## the broker with a simulated OpenAI, no key needed: http://127.0.0.1:8080/demo
	cargo run -- dev

demo: ## builds the page at /demo
	scripts/demo-build.sh

check: ## formatting and lints
	cargo fmt --all --check
	cargo clippy --locked --all-targets --quiet -- -D warnings

quick: ## every test but those of containers and of files for operators
	scripts/test.sh --quick

test: ## everything that CI runs; installs what it needs
	scripts/test.sh

bench: ## the load comparison
	scripts/bench.sh

image: ## builds the container image with Docker
	docker build --tag realtime-token-broker .

release: ## the static binary, its bill of materials and checksums, in target/release-files
	scripts/release.sh
