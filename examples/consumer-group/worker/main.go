// A worker that a ConsumerGroup may scale, restart and kill at any moment without losing an entry. Here: which Redis, which
// stream, and the work itself. How to take entries, and give them back, is in consumer.go.
package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

func main() {
	stop, done := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer done()
	client := redis.NewClient(&redis.Options{
		Addr:     net.JoinHostPort(text("REDIS_HOST", "localhost"), text("REDIS_PORT", "6379")),
		Username: os.Getenv("REDIS_USERNAME"),
		Password: os.Getenv("REDIS_PASSWORD"),
		// A command whose reply was lost may have been done. The consumer decides itself what to send again.
		MaxRetries: -1,
		// With appendfsync always a reply waits for the disk, and a reply that nobody waited for leaves its entry pending.
		ReadTimeout: 30 * time.Second,
	})
	c := &consumer{
		redis:         client,
		stream:        text("STREAM", ""),
		group:         text("GROUP", ""),
		name:          text("POD_NAME", ""),
		concurrency:   max(1, number("CONCURRENCY", 1)),
		claimMinIdle:  seconds("CLAIM_MIN_IDLE_SECONDS", 60),
		maxDeliveries: int64(number("MAX_DELIVERIES", 5)),
		drain:         seconds("DRAIN_SECONDS", 20),
		handle:        countAfter(client, time.Duration(number("WORK_MILLISECONDS", 20))*time.Millisecond, os.Getenv("EFFECTS_KEY")),
	}
	if c.stream == "" || c.group == "" || c.name == "" {
		slog.Error("STREAM, GROUP and POD_NAME must be set")
		os.Exit(2)
	}
	slog.Info("started", "stream", c.stream, "group", c.group, "consumer", c.name, "concurrency", c.concurrency)
	handedOn, err := c.run(stop)
	slog.Info("stopped", "handed-on", handedOn, "error", err)
}

// countAfter makes the work of this example: it takes time, and counts in a hash how often each entry was handled.
//
// Replace it. An entry may come twice, so what you do must bear being done twice: key the effect by the entry's id or by
// one of its fields. Return early when working ends: the entry is then handed to a peer.
func countAfter(client *redis.Client, duration time.Duration, key string) func(context.Context, redis.XMessage) error {
	return func(working context.Context, entry redis.XMessage) error {
		select {
		case <-time.After(duration):
		case <-working.Done():
			return working.Err()
		}
		if key == "" {
			return nil
		}
		return client.HIncrBy(working, key, entry.ID, 1).Err()
	}
}

func text(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func number(name string, otherwise int) int {
	value, err := strconv.Atoi(text(name, strconv.Itoa(otherwise)))
	if err != nil || value < 0 {
		slog.Error("not a whole number", "variable", name)
		os.Exit(2)
	}
	return value
}

func seconds(name string, otherwise int) time.Duration {
	return time.Duration(max(1, number(name, otherwise))) * time.Second
}
