package main

// What a kube-apiserver asks of etcd, call by call and option by option, in the shapes of
// k8s.io/apiserver/pkg/storage/etcd3 and the kubernetes package of clientv3 that it uses.

import (
	"context"
	"fmt"
	"strconv"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/kubernetes"
)

const compactRevKey = "compact_rev_key"

type apiserver struct {
	ctx    context.Context
	client *kubernetes.Client
}

func (a apiserver) get(name, key string, opts kubernetes.GetOptions) int64 {
	resp, err := a.client.Kubernetes.Get(a.ctx, key, opts)
	fmt.Println(name, "rev", resp.Revision, kvText(resp.KV), errText(err))
	return resp.Revision
}

func (a apiserver) put(name, key, value string, revision int64, opts kubernetes.PutOptions) int64 {
	resp, err := a.client.Kubernetes.OptimisticPut(a.ctx, key, []byte(value), revision, opts)
	lease := opts.LeaseID != 0
	if resp.KV != nil {
		resp.KV.Lease = 0
	}
	fmt.Println(name, "succeeded", resp.Succeeded, "rev", resp.Revision, "lease", lease, kvText(resp.KV), errText(err))
	return resp.Revision
}

func (a apiserver) remove(name, key string, revision int64, opts kubernetes.DeleteOptions) {
	resp, err := a.client.Kubernetes.OptimisticDelete(a.ctx, key, revision, opts)
	fmt.Println(name, "succeeded", resp.Succeeded, "rev", resp.Revision, kvText(resp.KV), errText(err))
}

func (a apiserver) list(name, prefix string, opts kubernetes.ListOptions) kubernetes.ListResponse {
	resp, err := a.client.Kubernetes.List(a.ctx, prefix, opts)
	fmt.Println(name, "rev", resp.Revision, "count", resp.Count, kvsText(resp.Kvs), errText(err))
	return resp
}

func (a apiserver) count(name, prefix string) {
	count, err := a.client.Kubernetes.Count(a.ctx, prefix, kubernetes.CountOptions{})
	fmt.Println(name, count, errText(err))
}

// writes are Create, GuaranteedUpdate and Delete, with their conflicts.
func (a apiserver) writes() {
	first := a.put("create", "/registry/pods/ns/a", "a1", 0, kubernetes.PutOptions{})
	a.put("create again", "/registry/pods/ns/a", "a2", 0, kubernetes.PutOptions{})
	second := a.put("update", "/registry/pods/ns/a", "a2", first, kubernetes.PutOptions{GetOnFailure: true})
	a.put("update of what has changed", "/registry/pods/ns/a", "a3", first, kubernetes.PutOptions{GetOnFailure: true})
	a.put("update of what is not there", "/registry/pods/ns/none", "x", first, kubernetes.PutOptions{GetOnFailure: true})
	a.get("get", "/registry/pods/ns/a", kubernetes.GetOptions{})
	a.get("get of nothing", "/registry/pods/ns/none", kubernetes.GetOptions{})
	a.get("get at a revision", "/registry/pods/ns/a", kubernetes.GetOptions{Revision: first})
	a.get("get at a future revision", "/registry/pods/ns/a", kubernetes.GetOptions{Revision: second + 1000})
	a.remove("delete of what has changed", "/registry/pods/ns/a", first, kubernetes.DeleteOptions{GetOnFailure: true})
	a.remove("delete of what has changed, without a look", "/registry/pods/ns/a", first, kubernetes.DeleteOptions{})
	a.remove("delete", "/registry/pods/ns/a", second, kubernetes.DeleteOptions{GetOnFailure: true})
	a.remove("delete of what is gone", "/registry/pods/ns/a", second, kubernetes.DeleteOptions{GetOnFailure: true})
}

// leases are shared by the objects that end at about the same time, as events do.
func (a apiserver) leases() {
	lease, err := a.client.Client.Grant(a.ctx, 3600)
	if err != nil {
		fmt.Println("grant", errText(err))
		return
	}
	fmt.Println("grant", lease.TTL, lease.Error)
	for i := range 3 {
		a.put("create with a lease", fmt.Sprintf("/registry/events/ns/e%d", i), "event", 0, kubernetes.PutOptions{LeaseID: lease.ID})
	}
	a.put("create with a lease that is gone", "/registry/events/ns/e4", "event", 0, kubernetes.PutOptions{LeaseID: 77})
	left, err := a.client.Client.TimeToLive(a.ctx, lease.ID, clientv3.WithAttachedKeys())
	if err != nil {
		fmt.Println("time to live", errText(err))
		return
	}
	fmt.Println("time to live", left.GrantedTTL, len(left.Keys))
	_, err = a.client.Client.Revoke(a.ctx, lease.ID)
	fmt.Println("revoke", errText(err))
	a.count("events after the revoke", "/registry/events/")
}

// lists are whole, in pages pinned to the first one's revision, counted, of keys alone, and streamed.
func (a apiserver) lists() {
	for i := range 7 {
		a.put("create", fmt.Sprintf("/registry/configmaps/ns/c%d", i), strconv.Itoa(i), 0, kubernetes.PutOptions{})
	}
	const prefix = "/registry/configmaps/"
	a.list("list", prefix, kubernetes.ListOptions{})
	a.list("list of nothing", "/registry/nothing/", kubernetes.ListOptions{})
	a.list("list at a future revision", prefix, kubernetes.ListOptions{Revision: 1 << 40})
	page := a.list("first page", prefix, kubernetes.ListOptions{Limit: 3})
	pinned := page.Revision
	a.put("create between pages", "/registry/configmaps/ns/c2a", "late", 0, kubernetes.PutOptions{})
	for len(page.Kvs) > 0 && int64(len(page.Kvs)) < page.Count {
		next := string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
		page = a.list("next page", prefix, kubernetes.ListOptions{Limit: 3, Revision: pinned, Continue: next})
	}
	a.count("count", prefix)
	keys, err := a.client.Client.Get(a.ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		fmt.Println("keys", errText(err))
		return
	}
	fmt.Println("keys", keys.Count, kvsText(keys.Kvs))
	end := clientv3.WithRange(clientv3.GetPrefixRangeEnd(prefix))
	a.stream("stream", prefix, end)
	a.stream("stream at a revision", prefix, end, clientv3.WithRev(pinned))
	a.stream("stream of a page", prefix, end, clientv3.WithRev(pinned), clientv3.WithLimit(3))
	a.stream("stream of the next page", prefix+"ns/c2\x00", end, clientv3.WithRev(pinned), clientv3.WithLimit(3))
	a.stream("stream at a future revision", prefix, end, clientv3.WithRev(1<<40))
}

func (a apiserver) stream(name, key string, opts ...clientv3.OpOption) {
	chunks, err := a.client.KV.GetStream(a.ctx, key, opts...)
	if err != nil {
		fmt.Println(name, errText(err))
		return
	}
	for chunk := range chunks {
		if err := chunk.Err(); err != nil {
			fmt.Println(name, errText(err))
			return
		}
		resp := chunk.RangeResponse
		revision := "-"
		if resp.Header != nil {
			revision = strconv.FormatInt(resp.Header.Revision, 10)
		}
		fmt.Println(name, "rev", revision, "count", resp.Count, "more", resp.More, kvsText(resp.Kvs))
	}
}

// compact is one turn of the apiserver's compactor; it returns the logical time and the revision to compact next.
func (a apiserver) compact(name string, version, revision int64) (int64, int64) {
	resp, err := a.client.KV.Txn(a.ctx).If(
		clientv3.Compare(clientv3.Version(compactRevKey), "=", version),
	).Then(
		clientv3.OpPut(compactRevKey, strconv.FormatInt(revision, 10)),
	).Else(
		clientv3.OpGet(compactRevKey),
	).Commit()
	if err != nil {
		fmt.Println(name, errText(err))
		return version, revision
	}
	fmt.Println(name, "succeeded", resp.Succeeded, "rev", resp.Header.Revision)
	if !resp.Succeeded {
		kv := resp.Responses[0].GetResponseRange().Kvs[0]
		fmt.Println(name, "another was first", kvText(kv))
		return kv.Version, resp.Header.Revision
	}
	if revision != 0 {
		compacted, err := a.client.Client.Compact(a.ctx, revision)
		if err != nil {
			fmt.Println(name, errText(err))
		} else {
			fmt.Println(name, "compacted", revision, "rev", compacted.Header.Revision)
		}
	}
	return version + 1, resp.Header.Revision
}

func (a apiserver) compactions() {
	version, revision := a.compact("first compaction", 0, 0)
	before := revision
	a.put("create", "/registry/pods/ns/z", "z", 0, kubernetes.PutOptions{})
	version, revision = a.compact("second compaction", version, revision)
	a.compact("compaction of one who is late", 1, before)
	a.compact("compaction of a newcomer", 0, 0)
	a.compact("third compaction", version, revision)
	a.list("list at a compacted revision", "/registry/pods/", kubernetes.ListOptions{Revision: before - 1})
	a.stream("stream at a compacted revision", "/registry/pods/", clientv3.WithPrefix(), clientv3.WithRev(before-1))
	a.watch("watch from a compacted revision", before-2, 1, clientv3.WithPrefix(), clientv3.WithPrevKV())
	_, err := a.client.Client.Compact(a.ctx, before)
	fmt.Println("compacted already", errText(err))
	_, err = a.client.Client.Compact(a.ctx, 1<<40)
	fmt.Println("compaction in the future", errText(err))
}

// watch prints responses until `events` events have come, or the watch has ended.
func (a apiserver) watch(name string, revision int64, events int, opts ...clientv3.OpOption) {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(a.ctx))
	defer cancel()
	opts = append([]clientv3.OpOption{clientv3.WithRev(revision)}, opts...)
	for resp := range a.client.Client.Watch(ctx, "/registry/", opts...) {
		if err := resp.Err(); err != nil {
			fmt.Println(name, "canceled", resp.Canceled, "compacted", resp.CompactRevision, errText(err))
			return
		}
		for _, event := range resp.Events {
			fmt.Println(name, event.Type, event.IsCreate(), kvText(event.Kv), "before", kvText(event.PrevKv))
			events--
		}
		if events <= 0 {
			return
		}
	}
}

func (a apiserver) watches() {
	from := a.get("get for a watch", "/registry/pods/", kubernetes.GetOptions{}) + 1
	first := a.put("create", "/registry/pods/ns/w", "w1", 0, kubernetes.PutOptions{})
	second := a.put("update", "/registry/pods/ns/w", "w2", first, kubernetes.PutOptions{GetOnFailure: true})
	a.remove("delete", "/registry/pods/ns/w", second, kubernetes.DeleteOptions{GetOnFailure: true})
	opts := []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithProgressNotify()}
	a.watch("watch", from, 3, opts...)
	a.watch("watch in fragments", from, 3, append(opts, clientv3.WithFragment())...)
	a.bookmarks(from)
}

// bookmarks are made of answers to progress requests: no event up to such an answer's revision may come after it.
func (a apiserver) bookmarks(from int64) {
	ctx, cancel := context.WithTimeout(clientv3.WithRequireLeader(a.ctx), 20*time.Second)
	defer cancel()
	watch := a.client.Client.Watch(ctx, "/registry/leases/", clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithProgressNotify(), clientv3.WithRev(from))
	const rounds = 50
	told, got := int64(0), 0
	revision := int64(0)
	for i := range rounds {
		if i%2 == 0 {
			resp, err := a.client.Kubernetes.OptimisticPut(ctx, fmt.Sprintf("/registry/leases/l%d", i), []byte("x"), 0, kubernetes.PutOptions{})
			if err != nil {
				fmt.Println("bookmarks", errText(err))
				return
			}
			revision = resp.Revision
		} else {
			resp, err := a.client.Client.Put(ctx, "/elsewhere", strconv.Itoa(i))
			if err != nil {
				fmt.Println("bookmarks", errText(err))
				return
			}
			revision = resp.Header.Revision
		}
		for told < revision {
			// An answer comes only once the watch has all there is: it may have to be asked for again.
			if err := a.client.Client.RequestProgress(ctx); err != nil {
				fmt.Println("bookmarks", errText(err))
				return
			}
			select {
			case resp := <-watch:
				if err := resp.Err(); err != nil {
					fmt.Println("bookmarks", errText(err))
					return
				}
				for _, event := range resp.Events {
					if event.Kv.ModRevision <= told {
						fmt.Println("bookmarks: an event after the notice of its revision")
					}
					got++
				}
				if resp.IsProgressNotify() {
					told = resp.Header.Revision
				}
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
				fmt.Println("bookmarks", "no notice of", revision)
				return
			}
		}
	}
	fmt.Println("bookmarks", "rev", told, "events", got)
}

// probes are what health checks and monitoring ask.
func (a apiserver) probes() {
	a.get("health check", "/registry/health", kubernetes.GetOptions{})
	status, err := a.client.Client.Status(a.ctx, a.client.Endpoints()[0])
	if err != nil {
		fmt.Println("status", errText(err))
		return
	}
	fmt.Println("status", status.Version, status.StorageVersion, status.DbSize > 0, status.IsLearner, status.Errors)
	members, err := a.client.Client.MemberList(a.ctx)
	if err != nil {
		fmt.Println("member list", errText(err))
		return
	}
	fmt.Println("member list", len(members.Members))
}

func kubernetesCourse(ctx context.Context, client *clientv3.Client) {
	wrapped := &kubernetes.Client{Client: client}
	wrapped.Kubernetes = wrapped
	a := apiserver{ctx, wrapped}
	a.probes()
	a.writes()
	a.leases()
	a.lists()
	a.watches()
	a.compactions()
}
