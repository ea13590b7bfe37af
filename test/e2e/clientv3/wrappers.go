package main

// clientv3's wrappers: key spaces of their own, answers that never go back, keys that are cached under a lease,
// mirrors, and snapshots.

import (
	"context"
	"fmt"
	"io"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/leasing"
	"go.etcd.io/etcd/client/v3/mirror"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.etcd.io/etcd/client/v3/ordering"
)

func namespaces(ctx context.Context, client *clientv3.Client) {
	kv := namespace.NewKV(client.KV, "space/")
	watcher := namespace.NewWatcher(client.Watcher, "space/")
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	events := watcher.Watch(watching, "", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	<-events
	_, err := kv.Put(ctx, "a", "1")
	fatal("put", err)
	txn, err := kv.Txn(ctx).If(clientv3.Compare(clientv3.Value("a"), "=", "1")).Then(clientv3.OpPut("b", "2"), clientv3.OpGet("", clientv3.WithPrefix())).Commit()
	fatal("txn", err)
	fmt.Println("namespace txn", txn.Succeeded, kvsText(txn.Responses[1].GetResponseRange().Kvs))
	inside, err := kv.Get(ctx, "", clientv3.WithFromKey())
	fatal("get", err)
	outside, err := client.Get(ctx, "space/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	fatal("get", err)
	fmt.Println("namespace", kvsText(inside.Kvs), kvsText(outside.Kvs))
	for count := 0; count < 2; {
		for _, event := range (<-events).Events {
			fmt.Println("namespace event", event.Type, kvText(event.Kv))
			count++
		}
	}
}

func orders(ctx context.Context, client *clientv3.Client) {
	kv := ordering.NewKV(client.KV, ordering.NewOrderViolationSwitchEndpointClosure(client))
	_, err := kv.Get(ctx, "space/a")
	fatal("get", err)
	resp, err := kv.Get(ctx, "space/a", clientv3.WithSerializable())
	fatal("get", err)
	fmt.Println("ordering", kvsText(resp.Kvs))
}

func leasings(ctx context.Context, client *clientv3.Client) {
	one, closeOne, err := leasing.NewKV(client, "leasing/")
	fatal("leasing", err)
	defer closeOne()
	two, closeTwo, err := leasing.NewKV(client, "leasing/")
	fatal("leasing", err)
	defer closeTwo()
	_, err = one.Put(ctx, "cached", "1")
	fatal("put", err)
	for _, kv := range []clientv3.KV{one, one, two} {
		resp, err := kv.Get(ctx, "cached")
		fatal("get", err)
		fmt.Println("leasing", string(resp.Kvs[0].Value))
	}
	// Who holds the key's lease has to give it back first.
	_, err = two.Put(ctx, "cached", "2")
	fatal("put", err)
	resp, err := one.Get(ctx, "cached")
	fatal("get", err)
	fmt.Println("leasing after another's put", string(resp.Kvs[0].Value))
}

func mirrors(ctx context.Context, client *clientv3.Client) {
	syncing, cancel := context.WithCancel(ctx)
	defer cancel()
	syncer := mirror.NewSyncer(client, "space/", 0)
	base, failures := syncer.SyncBase(syncing)
	for resp := range base {
		fmt.Println("mirror base", kvsText(resp.Kvs))
	}
	fatal("mirror", <-failures)
	updates := syncer.SyncUpdates(syncing)
	_, err := client.Put(ctx, "space/c", "3")
	fatal("put", err)
	fmt.Println("mirror update", kvText((<-updates).Events[0].Kv))
}

func snapshots(ctx context.Context, client *clientv3.Client) {
	resp, err := client.SnapshotWithVersion(ctx)
	fatal("snapshot", err)
	length, err := io.Copy(io.Discard, resp.Snapshot)
	fatal("snapshot", err)
	fmt.Println("snapshot", resp.Version, length%4096)
}

func wrappersCourse(ctx context.Context, client *clientv3.Client) {
	namespaces(ctx, client)
	orders(ctx, client)
	leasings(ctx, client)
	mirrors(ctx, client)
	snapshots(ctx, client)
}
