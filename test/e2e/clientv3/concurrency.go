package main

// Sessions, mutexes, elections and software transactional memory, as clientv3/concurrency makes them of leases,
// transactions and watches.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// fatal ends the probe: the steps after this one would mean nothing.
func fatal(name string, err error) {
	if err == nil {
		return
	}
	fmt.Println(name, errText(err))
	os.Exit(1)
}

func session(client *clientv3.Client, seconds int) *concurrency.Session {
	s, err := concurrency.NewSession(client, concurrency.WithTTL(seconds))
	fatal("session", err)
	return s
}

// mutexes: whoever asks first gets it first, one holds it at a time, and who gives up leaves nothing behind.
func mutexes(ctx context.Context, client *clientv3.Client) {
	const count = 5
	first := concurrency.NewMutex(session(client, 30), "lock")
	fatal("lock", first.Lock(ctx))
	order := make(chan int, count)
	holders := 0
	var waiting sync.WaitGroup
	for i := range count {
		s := session(client, 30)
		waiting.Add(1)
		go func() {
			defer waiting.Done()
			mutex := concurrency.NewMutex(s, "lock")
			if err := mutex.Lock(ctx); err != nil {
				fmt.Println("waiter", errText(err))
				return
			}
			if holders++; holders != 1 {
				fmt.Println("two hold the lock")
			}
			order <- i
			holders--
			if err := mutex.Unlock(ctx); err != nil {
				fmt.Println("unlock", errText(err))
			}
		}()
		waitForKeys(ctx, client, "lock/", i+2)
	}
	other := concurrency.NewMutex(session(client, 30), "lock")
	fmt.Println("try lock", errors.Is(other.TryLock(ctx), concurrency.ErrLocked))
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	err := other.Lock(short)
	cancel()
	fmt.Println("lock until a deadline", errText(err))
	waitForKeys(ctx, client, "lock/", count+1)
	fatal("unlock", first.Unlock(ctx))
	waiting.Wait()
	close(order)
	for i := range order {
		fmt.Println("lock was got by", i)
	}
	fmt.Println("try lock when free", errText(other.TryLock(ctx)))
	txn, err := client.Txn(ctx).If(other.IsOwner()).Then(clientv3.OpPut("under-lock", "x")).Commit()
	fatal("txn of the owner", err)
	fmt.Println("txn of the owner", txn.Succeeded)
	fatal("unlock", other.Unlock(ctx))
	fmt.Println("unlock twice", errText(other.Unlock(ctx)))
}

// A lock whose session ends is free.
func endedSessions(ctx context.Context, client *clientv3.Client) {
	closed := session(client, 30)
	fatal("lock", concurrency.NewMutex(closed, "ended").Lock(ctx))
	next := concurrency.NewMutex(session(client, 30), "ended")
	fatal("close", closed.Close())
	fatal("lock after a closed session", next.Lock(ctx))
	fatal("unlock", next.Unlock(ctx))
	orphan := session(client, 1)
	fatal("lock", concurrency.NewMutex(orphan, "ended").Lock(ctx))
	orphan.Orphan()
	fatal("lock after a session that ran out", next.Lock(ctx))
	fmt.Println("ended sessions give their locks back")
}

func waitForKeys(ctx context.Context, client *clientv3.Client, prefix string, count int) {
	for {
		resp, err := client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
		fatal("count", err)
		if int(resp.Count) == count {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func elections(ctx context.Context, client *clientv3.Client) {
	one, two := session(client, 30), session(client, 30)
	first, second := concurrency.NewElection(one, "vote"), concurrency.NewElection(two, "vote")
	_, err := first.Leader(ctx)
	fmt.Println("leader of none", errText(err))
	observing, stop := context.WithCancel(ctx)
	defer stop()
	seen := concurrency.NewElection(session(client, 30), "vote").Observe(observing)
	observe := func() { resp := <-seen; fmt.Println("observed", string(resp.Kvs[0].Value)) }
	fatal("campaign", first.Campaign(ctx, "one"))
	observe()
	fmt.Println("proclaim of one who has not won", errText(second.Proclaim(ctx, "x")))
	won := make(chan error)
	go func() { won <- second.Campaign(ctx, "two") }()
	waitForKeys(ctx, client, "vote/", 2)
	fatal("proclaim", first.Proclaim(ctx, "one again"))
	observe()
	leader, err := second.Leader(ctx)
	fatal("leader", err)
	fmt.Println("leader", string(leader.Kvs[0].Value), string(leader.Kvs[0].Key) == first.Key(), leader.Kvs[0].CreateRevision == first.Rev())
	fatal("resign", first.Resign(ctx))
	fatal("campaign", <-won)
	observe()
	resumed := concurrency.ResumeElection(two, "vote/", second.Key(), second.Rev())
	fatal("proclaim of a resumed election", resumed.Proclaim(ctx, "two again"))
	observe()
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	fmt.Println("campaign until a deadline", errText(concurrency.NewElection(one, "vote").Campaign(short, "late")))
	cancel()
	waitForKeys(ctx, client, "vote/", 1)
	fatal("resign", second.Resign(ctx))
	_, err = first.Leader(ctx)
	fmt.Println("leader after all", errText(err))
}

// transactions: counters that many add to at once come out right under every isolation.
func transactions(ctx context.Context, client *clientv3.Client) {
	for name, isolation := range map[string]concurrency.Isolation{
		"serializable snapshot": concurrency.SerializableSnapshot,
		"serializable":          concurrency.Serializable,
		"repeatable reads":      concurrency.RepeatableReads,
	} {
		key := "counter " + name
		var all sync.WaitGroup
		for range 8 {
			all.Add(1)
			go func() {
				defer all.Done()
				for range 5 {
					_, err := concurrency.NewSTM(client, func(stm concurrency.STM) error {
						n, _ := strconv.Atoi(stm.Get(key))
						stm.Put(key, strconv.Itoa(n+1))
						stm.Del(key + " scratch")
						return nil
					}, concurrency.WithIsolation(isolation), concurrency.WithAbortContext(ctx))
					if err != nil {
						fmt.Println("stm", errText(err))
					}
				}
			}()
		}
		all.Wait()
	}
	resp, err := client.Get(ctx, "counter ", clientv3.WithPrefix())
	fatal("counters", err)
	for _, kv := range resp.Kvs {
		fmt.Println(string(kv.Key), string(kv.Value), kv.Version)
	}
	_, err = concurrency.NewSTM(client, func(concurrency.STM) error { return errors.New("no") })
	fmt.Println("stm that fails", errText(err))
}

func concurrencyCourse(ctx context.Context, client *clientv3.Client) {
	mutexes(ctx, client)
	endedSessions(ctx, client)
	elections(ctx, client)
	transactions(ctx, client)
}
