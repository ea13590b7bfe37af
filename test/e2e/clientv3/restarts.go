package main

// What outlives the server's death: watches, leases that are kept alive, sessions with their locks and elections.
// The probe asks for a restart by a line, and is told by a line on its input when the server is back.

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

const restartsSpan = 55 * time.Second

// seen is what one watch was told.
type seen struct {
	events atomic.Int64
	last   int64
	done   chan struct{}
}

// follow checks that revisions only grow, and that previous values are those told before.
func (s *seen) follow(name string, watch clientv3.WatchChan) {
	defer close(s.done)
	values := map[string]string{}
	for resp := range watch {
		if err := resp.Err(); err != nil {
			fmt.Println(name, "ended", errText(err))
			return
		}
		for _, event := range resp.Events {
			key, value := string(event.Kv.Key), string(event.Kv.Value)
			if event.Kv.ModRevision <= s.last {
				fmt.Println(name, "was told twice or out of order of", key, event.Kv.ModRevision)
			}
			before, was := values[key]
			if was != (event.PrevKv != nil) || (was && string(event.PrevKv.Value) != before) {
				fmt.Println(name, "got a wrong previous value of", key, event.Kv.ModRevision)
			}
			s.last = event.Kv.ModRevision
			values[key] = value
			s.events.Add(1)
			if key == "watched/last" {
				return
			}
		}
	}
	fmt.Println(name, "was closed")
}

// write puts until it is stopped; a put whose fate is unknown may be made twice.
func write(ctx context.Context, client *clientv3.Client, name string) (acknowledged int) {
	for i := 0; ctx.Err() == nil; i++ {
		if _, err := client.Put(ctx, "watched/"+name, fmt.Sprint(i)); err == nil {
			acknowledged++
		}
	}
	return acknowledged
}

func restartsCourse(_ context.Context, client *clientv3.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), restartsSpan)
	defer cancel()
	watched := &seen{done: make(chan struct{})}
	fragments := &seen{done: make(chan struct{})}
	watchCtx := clientv3.WithRequireLeader(ctx)
	opts := []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithRev(1)}
	go watched.follow("watch", client.Watch(ctx, "watched/", opts...))
	go fragments.follow("watch in fragments", client.Watch(watchCtx, "watched/", append(opts, clientv3.WithFragment(), clientv3.WithProgressNotify())...))

	lease, err := client.Grant(ctx, 10)
	fatal("grant", err)
	_, err = client.Put(ctx, "leased", "x", clientv3.WithLease(lease.ID))
	fatal("put", err)
	alive, err := client.KeepAlive(ctx, lease.ID)
	fatal("keepalive", err)
	keptAlive := atomic.Int64{}
	go func() {
		for range alive {
			keptAlive.Add(1)
		}
	}()
	held := session(client, 10)
	mutex := concurrency.NewMutex(held, "held")
	fatal("lock", mutex.Lock(ctx))
	election := concurrency.NewElection(held, "elected")
	fatal("campaign", election.Campaign(ctx, "me"))
	waiter := concurrency.NewMutex(session(client, 10), "held")
	got := make(chan error, 1)
	go func() { got <- waiter.Lock(ctx) }()

	answers := bufio.NewScanner(os.Stdin)
	for _, how := range []string{"kill", "term"} {
		writing, stop := context.WithCancel(ctx)
		done := make(chan int)
		for _, name := range []string{"a", "b"} {
			go func() { done <- write(writing, client, name) }()
		}
		before := watched.events.Load()
		for watched.events.Load() < before+20 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		renewals := keptAlive.Load()
		fmt.Println("restart", how)
		if !answers.Scan() {
			fatal("restart", fmt.Errorf("nobody restarted the server"))
		}
		before = watched.events.Load()
		for (watched.events.Load() < before+20 || keptAlive.Load() == renewals) && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		stop()
		if <-done+<-done == 0 {
			fmt.Println("nothing was acknowledged")
		}
	}
	last, err := client.Put(ctx, "watched/last", "x")
	fatal("last put", err)
	<-watched.done
	<-fragments.done
	// A put that was given up when the writers stopped may still be made, behind the last one.
	resp, err := client.Get(ctx, "watched/", clientv3.WithPrefix(), clientv3.WithRev(last.Header.Revision))
	fatal("get", err)
	versions := int64(0)
	for _, kv := range resp.Kvs {
		versions += kv.Version
	}
	fmt.Println("every event once:", versions == watched.events.Load(), versions == fragments.events.Load())
	left, err := client.TimeToLive(ctx, lease.ID, clientv3.WithAttachedKeys())
	fatal("time to live", err)
	fmt.Println("lease", left.GrantedTTL, left.TTL > 0, len(left.Keys))
	select {
	case <-held.Done():
		fmt.Println("the session has ended")
	default:
		fmt.Println("the session lives")
	}
	fmt.Println("proclaim", errText(election.Proclaim(ctx, "still me")))
	select {
	case <-got:
		fmt.Println("the waiter got a lock that is held")
	default:
	}
	fatal("unlock", mutex.Unlock(ctx))
	fmt.Println("the waiter got the lock", errText(<-got))
}
