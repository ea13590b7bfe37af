package main

// A fixed course of puts, gets, ranges, transactions, deletes and errors.

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/status"
)

func kvText(kv *mvccpb.KeyValue) string {
	if kv == nil {
		return "-"
	}
	return fmt.Sprintf("%q=%q c%d m%d v%d l%d", kv.Key, kv.Value, kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease)
}

func kvsText(kvs []*mvccpb.KeyValue) string {
	parts := make([]string, 0, len(kvs))
	for _, kv := range kvs {
		parts = append(parts, kvText(kv))
	}
	return "[" + strings.Join(parts, "; ") + "]"
}

func errText(err error) string {
	if err == nil {
		return "ok"
	}
	known := ""
	for name, want := range map[string]error{
		"ErrEmptyKey": rpctypes.ErrEmptyKey, "ErrFutureRev": rpctypes.ErrFutureRev, "ErrLeaseNotFound": rpctypes.ErrLeaseNotFound,
		"ErrDuplicateKey": rpctypes.ErrDuplicateKey, "ErrTooManyOps": rpctypes.ErrTooManyOps, "ErrKeyNotFound": rpctypes.ErrKeyNotFound,
		"ErrRequestTooLarge": rpctypes.ErrRequestTooLarge, "ErrValueProvided": rpctypes.ErrValueProvided,
	} {
		if errors.Is(err, want) {
			known = " is " + name
		}
	}
	code := status.Code(err)
	var etcdErr rpctypes.EtcdError
	if errors.As(err, &etcdErr) {
		code = etcdErr.Code()
	}
	return fmt.Sprintf("error %s %q%s", code, err.Error(), known)
}

type probe struct {
	client *clientv3.Client
	ctx    context.Context
}

func (p probe) put(name, key, value string, opts ...clientv3.OpOption) {
	resp, err := p.client.Put(p.ctx, key, value, opts...)
	if err != nil {
		fmt.Println(name, errText(err))
		return
	}
	fmt.Println(name, "rev", resp.Header.Revision, "prev", kvText(resp.PrevKv))
}

func (p probe) get(name, key string, opts ...clientv3.OpOption) {
	resp, err := p.client.Get(p.ctx, key, opts...)
	if err != nil {
		fmt.Println(name, errText(err))
		return
	}
	fmt.Println(name, "rev", resp.Header.Revision, "count", resp.Count, "more", resp.More, kvsText(resp.Kvs))
}

func (p probe) del(name, key string, opts ...clientv3.OpOption) {
	resp, err := p.client.Delete(p.ctx, key, opts...)
	if err != nil {
		fmt.Println(name, errText(err))
		return
	}
	fmt.Println(name, "rev", resp.Header.Revision, "deleted", resp.Deleted, kvsText(resp.PrevKvs))
}

func (p probe) txn(name string, cmps []clientv3.Cmp, then, otherwise []clientv3.Op) {
	resp, err := p.client.Txn(p.ctx).If(cmps...).Then(then...).Else(otherwise...).Commit()
	if err != nil {
		fmt.Println(name, errText(err))
		return
	}
	fmt.Println(name, "rev", resp.Header.Revision, "succeeded", resp.Succeeded, "responses", len(resp.Responses))
	for i, r := range resp.Responses {
		switch {
		case r.GetResponseRange() != nil:
			fmt.Println(" ", i, "range", r.GetResponseRange().Count, kvsText(r.GetResponseRange().Kvs))
		case r.GetResponsePut() != nil:
			fmt.Println(" ", i, "put", kvText(r.GetResponsePut().PrevKv))
		case r.GetResponseDeleteRange() != nil:
			fmt.Println(" ", i, "del", r.GetResponseDeleteRange().Deleted, kvsText(r.GetResponseDeleteRange().PrevKvs))
		case r.GetResponseTxn() != nil:
			fmt.Println(" ", i, "txn", r.GetResponseTxn().Succeeded, len(r.GetResponseTxn().Responses))
		}
	}
}

func (p probe) puts() {
	p.put("put", "foo", "bar")
	p.put("put prev", "foo", "baz", clientv3.WithPrevKV())
	p.put("put ignore value", "foo", "", clientv3.WithIgnoreValue(), clientv3.WithPrevKV())
	p.put("put ignore lease", "foo", "qux", clientv3.WithIgnoreLease())
	p.put("put empty value", "empty", "")
	p.put("put binary", "\x00\xff", "\x00\x01\xfe")
	for i := 0; i < 10; i++ {
		p.put("put k", fmt.Sprintf("k%d", i), fmt.Sprintf("v%d", 9-i))
	}
	p.put("put again", "k5", "later")
	p.put("put half a mebibyte", "big", strings.Repeat("x", 1<<19))
}

func (p probe) gets() {
	p.get("get", "foo")
	p.get("get missing", "nothing")
	p.get("get serializable", "foo", clientv3.WithSerializable())
	p.get("get prefix", "k", clientv3.WithPrefix())
	p.get("get range", "k2", clientv3.WithRange("k5"))
	p.get("get from key", "k7", clientv3.WithFromKey(), clientv3.WithKeysOnly())
	p.get("get limit", "k", clientv3.WithPrefix(), clientv3.WithLimit(3))
	p.get("get all keys only", "", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	p.get("get count only", "k", clientv3.WithPrefix(), clientv3.WithCountOnly())
	p.get("get descending", "k", clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend))
	p.get("get by value", "k", clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByValue, clientv3.SortAscend), clientv3.WithLimit(4))
	p.get("get by mod", "k", clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByModRevision, clientv3.SortDescend))
	p.get("get first create", "k", clientv3.WithFirstCreate()...)
	p.get("get last rev", "k", clientv3.WithLastRev()...)
	p.get("get first key", "k", clientv3.WithFirstKey()...)
	p.get("get old revision", "foo", clientv3.WithRev(2))
	p.get("get before anything", "foo", clientv3.WithRev(1))
	p.get("get min mod", "k", clientv3.WithPrefix(), clientv3.WithMinModRev(15))
	p.get("get max create", "k", clientv3.WithPrefix(), clientv3.WithMaxCreateRev(12))
}

func (p probe) txns() {
	p.txn("txn empty", nil, nil, nil)
	p.txn("txn then", []clientv3.Cmp{clientv3.Compare(clientv3.Value("foo"), "=", "qux")},
		[]clientv3.Op{clientv3.OpPut("foo", "swapped", clientv3.WithPrevKV()), clientv3.OpGet("foo"), clientv3.OpGet("k", clientv3.WithPrefix(), clientv3.WithLimit(2))},
		[]clientv3.Op{clientv3.OpGet("foo")})
	p.txn("txn else", []clientv3.Cmp{clientv3.Compare(clientv3.Version("foo"), ">", 100)},
		[]clientv3.Op{clientv3.OpPut("foo", "never")},
		[]clientv3.Op{clientv3.OpDelete("k0", clientv3.WithPrevKV()), clientv3.OpPut("k0", "back"), clientv3.OpGet("k0")})
	p.txn("txn create once", []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision("lock"), "=", 0)},
		[]clientv3.Op{clientv3.OpPut("lock", "me")}, []clientv3.Op{clientv3.OpGet("lock")})
	p.txn("txn create twice", []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision("lock"), "=", 0)},
		[]clientv3.Op{clientv3.OpPut("lock", "me")}, []clientv3.Op{clientv3.OpGet("lock")})
	p.txn("txn over a range", []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision("k").WithPrefix(), ">", 3), clientv3.Compare(clientv3.LeaseValue("k1"), "=", clientv3.LeaseID(0))},
		[]clientv3.Op{clientv3.OpGet("k1")}, nil)
	p.txn("txn nested", nil, []clientv3.Op{clientv3.OpTxn(
		[]clientv3.Cmp{clientv3.Compare(clientv3.Value("lock"), "!=", "you")},
		[]clientv3.Op{clientv3.OpPut("nested", "yes"), clientv3.OpGet("nested")}, nil)}, nil)
	p.txn("txn duplicate", nil, []clientv3.Op{clientv3.OpPut("a", "1"), clientv3.OpPut("a", "2")}, nil)
	many := make([]clientv3.Op, 129)
	for i := range many {
		many[i] = clientv3.OpGet("foo")
	}
	p.txn("txn of 129", nil, many, nil)
}

func (p probe) dels() {
	p.del("del", "foo", clientv3.WithPrevKV())
	p.del("del again", "foo")
	p.del("del range", "k2", clientv3.WithRange("k4"), clientv3.WithPrevKV())
	p.del("del prefix", "k", clientv3.WithPrefix())
	p.get("get after del", "k", clientv3.WithPrefix())
	p.put("put after del", "foo", "new life")
	p.get("get after put", "foo")
}

func (p probe) errors() {
	p.put("put no key", "", "x")
	p.get("get no key", "")
	p.del("del no key", "")
	p.get("get future", "foo", clientv3.WithRev(1<<40))
	p.put("put unknown lease", "foo", "x", clientv3.WithLease(77))
	p.put("put ignore value of missing", "missing", "", clientv3.WithIgnoreValue())
	p.put("put too large", "foo", strings.Repeat("x", 1600*1024))
	p.put("put larger than the client sends", "foo", strings.Repeat("x", 3<<20))
	cancelled, cancel := context.WithCancel(p.ctx)
	cancel()
	_, err := p.client.Get(cancelled, "foo")
	fmt.Println("get cancelled", errText(err))
	late, cancelLate := context.WithDeadline(p.ctx, time.Now().Add(-time.Second))
	defer cancelLate()
	_, err = p.client.Get(late, "foo")
	fmt.Println("get too late", errText(err))
}

func (p probe) cluster() {
	members, err := p.client.MemberList(p.ctx)
	if err != nil {
		fmt.Println("member list", errText(err))
		return
	}
	for _, m := range members.Members {
		fmt.Println("member", m.Name, m.ID == members.Header.MemberId, len(m.ClientURLs), len(m.PeerURLs), m.IsLearner)
	}
	st, err := p.client.Status(p.ctx, p.client.Endpoints()[0])
	if err != nil {
		fmt.Println("status", errText(err))
		return
	}
	fmt.Println("status", st.Version, st.StorageVersion, st.Leader == st.Header.MemberId, st.IsLearner, st.Errors, st.DbSizeQuota)
	hash, err := p.client.HashKV(p.ctx, p.client.Endpoints()[0], 0)
	if err != nil {
		fmt.Println("hashkv", errText(err))
		return
	}
	fmt.Println("hashkv", hash.Hash, hash.HashRevision, hash.CompactRevision)
	alarms, err := p.client.AlarmList(p.ctx)
	if err != nil {
		fmt.Println("alarms", errText(err))
		return
	}
	fmt.Println("alarms", len(alarms.Alarms))
}

// concurrently checks that many requests on one connection each get their own answer.
func (p probe) concurrently() {
	const workers, each = 20, 25
	failures := make(chan string, workers*each)
	done := make(chan struct{})
	for w := 0; w < workers; w++ {
		go func(w int) {
			defer func() { done <- struct{}{} }()
			for i := 0; i < each; i++ {
				key, value := fmt.Sprintf("c/%d/%d", w, i), fmt.Sprintf("%d-%d", w, i)
				if _, err := p.client.Put(p.ctx, key, value); err != nil {
					failures <- err.Error()
					continue
				}
				resp, err := p.client.Get(p.ctx, key)
				if err != nil || len(resp.Kvs) != 1 || string(resp.Kvs[0].Value) != value {
					failures <- fmt.Sprintf("%s: %v %v", key, resp, err)
				}
			}
		}(w)
	}
	for w := 0; w < workers; w++ {
		<-done
	}
	close(failures)
	for failure := range failures {
		fmt.Println("concurrently", failure)
	}
	p.get("concurrently all", "c/", clientv3.WithPrefix(), clientv3.WithCountOnly())
}

func course(ctx context.Context, client *clientv3.Client) {
	p := probe{client, clientv3.WithRequireLeader(ctx)}
	p.puts()
	p.gets()
	p.txns()
	p.dels()
	p.errors()
	p.cluster()
	p.concurrently()
}
