// A consumer of one stream by the contract in docs/consumer-groups/contract.md: copy it as it is.
package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	block      = time.Second // at most 2 s: a pod that is asked to stop waits this long for the read under way
	claimEvery = time.Second
	maxBackOff = time.Second
)

// Makes what this name still holds claimable at once, or forgets the name if it holds nothing: proven and done in one step.
// RETRYCOUNT takes back the delivery that comes to nothing: the next claim adds one again.
var leave = redis.NewScript(`
local held = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1000, ARGV[2])
for _, entry in ipairs(held) do
  redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, entry[1],
    'IDLE', 3600000, 'RETRYCOUNT', math.max(entry[4] - 1, 0), 'JUSTID')
end
if #held == 0 then redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2]) end
return #held`)

type consumer struct {
	redis         *redis.Client
	stream, group string
	name          string // the pod's name: by it the operator knows whose entries are orphaned
	concurrency   int    // entries in hand at once
	claimMinIdle  time.Duration
	maxDeliveries int64
	drain         time.Duration // less than the pod's terminationGracePeriodSeconds
	handle        func(working context.Context, entry redis.XMessage) error

	slots   chan struct{} // one token for each entry in hand
	mutex   sync.Mutex
	inHand  map[string]struct{}
	history string    // position in what this name left behind earlier; ">" once all of it is taken up
	cursor  string    // position of the claim scan
	claimAt time.Time // when the next scan may begin
}

// run takes entries until stop, finishes those it has, and hands on what it cannot finish in time.
func (c *consumer) run(stop context.Context) (handedOn int, err error) {
	c.slots, c.inHand = make(chan struct{}, c.concurrency), map[string]struct{}{}
	c.history, c.cursor = "0", "0-0"
	working, giveUp := context.WithCancel(context.Background())
	renewing, renewed := context.WithCancel(context.Background())
	var renewal sync.WaitGroup
	renewal.Go(func() { c.renew(renewing) })

	backOff := 100 * time.Millisecond
	for stop.Err() == nil {
		free := c.freeSlots(stop)
		if free == 0 {
			continue
		}
		entries, err := c.take(free)
		for _, entry := range entries {
			c.start(working, entry)
		}
		for range free - len(entries) {
			<-c.slots
		}
		if err == nil {
			backOff = 100 * time.Millisecond
			continue
		}
		// Also NOGROUP: the group is not there yet, or is lost and about to be made again. Exiting would help nobody.
		slog.Warn("cannot read, trying again", "error", err, "after", backOff)
		pause(stop, backOff)
		backOff = min(2*backOff, maxBackOff)
	}

	late := time.AfterFunc(c.drain, giveUp)
	for range c.concurrency {
		c.slots <- struct{}{} // a slot is free when its entry is finished
	}
	late.Stop()
	giveUp()
	renewed()
	renewal.Wait() // a renewal after the hand-over would undo it
	return leave.Run(context.Background(), c.redis, []string{c.stream}, c.group, c.name).Int()
}

// freeSlots waits for one free slot and takes all that are free; 0 when it is time to stop.
func (c *consumer) freeSlots(stop context.Context) (free int) {
	select {
	case c.slots <- struct{}{}:
		free = 1
	case <-stop.Done():
		return 0
	}
	for free < c.concurrency {
		select {
		case c.slots <- struct{}{}:
			free++
		default:
			return free
		}
	}
	return free
}

// take fetches at most limit entries: what an earlier process of this name left, then what others left, then new ones.
// It never fetches more than can be worked on at once: entries that wait inside a process are out of its peers' reach.
func (c *consumer) take(limit int) ([]redis.XMessage, error) {
	// Never cancelled: entries in a reply that nobody reads are delivered all the same.
	ctx := context.Background()
	if c.history != ">" {
		left, err := c.read(ctx, c.history, limit, -1)
		if err != nil {
			return nil, err
		}
		if len(left) == 0 {
			c.history = ">"
		} else {
			c.history = left[len(left)-1].ID
		}
		return c.acceptable(ctx, left)
	}
	var claimed []redis.XMessage
	if time.Now().After(c.claimAt) {
		// One call looks at few entries; the cursor says where the next is to go on, and is 0-0 after the last.
		messages, cursor, err := c.redis.XAutoClaim(ctx, &redis.XAutoClaimArgs{
			Stream: c.stream, Group: c.group, Consumer: c.name,
			MinIdle: c.claimMinIdle, Start: c.cursor, Count: int64(limit),
		}).Result()
		if err != nil {
			return nil, err
		}
		if c.cursor = cursor; cursor == "0-0" {
			c.claimAt = time.Now().Add(claimEvery)
		}
		if claimed, err = c.acceptable(ctx, messages); err != nil || len(claimed) == limit {
			return claimed, err
		}
	}
	wait := block
	if len(claimed) > 0 || c.cursor != "0-0" {
		wait = -1 // there is something to do meanwhile
	}
	fresh, err := c.read(ctx, ">", limit-len(claimed), wait)
	return append(claimed, fresh...), err
}

func (c *consumer) read(ctx context.Context, after string, count int, wait time.Duration) ([]redis.XMessage, error) {
	streams, err := c.redis.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: c.group, Consumer: c.name, Streams: []string{c.stream, after}, Count: int64(count), Block: wait,
	}).Result()
	if errors.Is(err, redis.Nil) || (err == nil && len(streams) == 0) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return streams[0].Messages, nil
}

// acceptable drops from delivered-again entries what is not to be handled: those in hand, those that were deleted from the
// stream, and those delivered too often. It counts before the work: an entry that kills its process is never counted after.
func (c *consumer) acceptable(ctx context.Context, entries []redis.XMessage) ([]redis.XMessage, error) {
	var accepted []redis.XMessage
	for _, entry := range entries {
		// Asked before Redis is: an entry that is let go in between is then acknowledged, or free to be handled again.
		if c.holds(entry.ID) {
			continue
		}
		if entry.Values == nil {
			if err := c.redis.XAck(ctx, c.stream, c.group, entry.ID).Err(); err != nil {
				return accepted, err
			}
			continue
		}
		pending, err := c.redis.XPendingExt(ctx, &redis.XPendingExtArgs{
			Stream: c.stream, Group: c.group, Start: entry.ID, End: entry.ID, Count: 1, Consumer: c.name,
		}).Result()
		if err != nil {
			return accepted, err
		}
		if len(pending) == 0 {
			continue // acknowledged a moment ago
		}
		if count := pending[0].RetryCount; count > c.maxDeliveries {
			// Left pending: with `deadLetters: {}` the operator moves it to STREAM:dead:GROUP.
			slog.Warn("delivered too often, not handled", "entry", entry.ID, "deliveries", count)
			continue
		}
		accepted = append(accepted, entry)
	}
	return accepted, nil
}

// start handles one entry beside the others. It gives its slot back at the end.
func (c *consumer) start(working context.Context, entry redis.XMessage) {
	c.mutex.Lock()
	c.inHand[entry.ID] = struct{}{}
	c.mutex.Unlock()
	go func() {
		defer func() {
			c.mutex.Lock()
			delete(c.inHand, entry.ID)
			c.mutex.Unlock()
			<-c.slots
		}()
		if err := c.handle(working, entry); err != nil {
			// Not acknowledged, so it comes again: here or at a peer, once it has been idle for claimMinIdle.
			slog.Warn("not handled, it will come again", "entry", entry.ID, "error", err)
			return
		}
		if err := c.redis.XAck(context.Background(), c.stream, c.group, entry.ID).Err(); err != nil {
			slog.Warn("handled but not acknowledged, it will come again", "entry", entry.ID, "error", err)
		}
	}()
}

// renew keeps entries in hand from looking abandoned, however long their work takes. JUSTID counts no delivery.
func (c *consumer) renew(renewing context.Context) {
	for pause(renewing, c.claimMinIdle/3) {
		c.mutex.Lock()
		ids := make([]string, 0, len(c.inHand))
		for id := range c.inHand {
			ids = append(ids, id)
		}
		c.mutex.Unlock()
		if len(ids) == 0 {
			continue
		}
		err := c.redis.XClaimJustID(context.Background(), &redis.XClaimArgs{
			Stream: c.stream, Group: c.group, Consumer: c.name, MinIdle: 0, Messages: ids,
		}).Err()
		if err != nil {
			slog.Warn("cannot renew what is in hand", "entries", len(ids), "error", err)
		}
	}
}

func (c *consumer) holds(id string) bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	_, held := c.inHand[id]
	return held
}

// pause waits; false when it was told to stop waiting.
func pause(stop context.Context, duration time.Duration) bool {
	select {
	case <-stop.Done():
		return false
	case <-time.After(duration):
		return true
	}
}
