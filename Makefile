# The two commands for a fresh clone. On a machine with a Vulkan driver, on macOS and on Windows plain
# `cargo run --release` and `cargo test` are the same; elsewhere on Linux a software driver is installed.
# Mesa complains when it is not set.
export XDG_RUNTIME_DIR ?= /tmp

.PHONY: run test adapter

# A story from the demo model. `make run ARGS='run path/to/model "Hello"'` runs anything else.
run: adapter
	cargo run --release -- $(ARGS)

test: adapter
	cargo test

adapter:
	@sh .ci/adapter
