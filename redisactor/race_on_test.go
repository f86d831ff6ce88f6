//go:build race

package redisactor_test

const raceDetector = true
