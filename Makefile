# The tests, as continuous integration runs them.
test:
	@bash .ci/run

# The dashboard example, on http://127.0.0.1:8080.
run:
	go run ./examples/dashboard

# Compares with peers and the floor: see bench/README.md.
bench:
	go -C bench run .

.PHONY: test run bench
