# The tests, as continuous integration runs them.
test:
	@bash .ci/run

# The dashboard example, on http://127.0.0.1:8080.
run:
	go run ./examples/dashboard

# The chat example, likewise.
chat:
	go run ./examples/chat

# Compares with peers and the floor: see bench/README.md.
bench:
	go -C bench run .

# Injects faults for two minutes while healthy subscribers check every message; prints a table.
SOAK ?= 2m
soak:
	go test ./internal/soak -run TestSoak -count=1 -timeout 0 -soak $(SOAK) -v

.PHONY: test run chat bench soak
