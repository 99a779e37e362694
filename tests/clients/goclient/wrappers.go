package main

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/mirror"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.etcd.io/etcd/client/v3/ordering"
)

var wrapperChecks = []check{
	{"namespace", checkNamespace}, {"ordering", checkOrdering}, {"mirror", checkMirror},
}

func checkNamespace(p *probe) {
	kv := namespace.NewKV(p.KV, "ns/")
	watcher := namespace.NewWatcher(p.Watcher, "ns/")
	lease := namespace.NewLease(p.Lease, "ns/")
	ch := watcher.Watch(p.ctx, "", clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithCreatedNotify())
	p.next(ch)
	granted, err := lease.Grant(p.ctx, 60)
	p.must(err)
	_, err = kv.Put(p.ctx, "a", "1", clientv3.WithLease(granted.ID))
	p.must(err)
	p.put("nsa", "outside")
	p.put("b", "outside")
	r, err := kv.Get(p.ctx, "", clientv3.WithPrefix())
	p.must(err)
	p.say("inside %s", p.kvs(r.Kvs))
	p.get("outside", "", clientv3.WithPrefix())
	ttl, err := lease.TimeToLive(p.ctx, granted.ID, clientv3.WithAttachedKeys())
	p.must(err)
	p.say("lease keys %s", ttl.Keys)
	txn, err := kv.Txn(p.ctx).If(clientv3.Compare(clientv3.Value("a"), "=", "1")).
		Then(clientv3.OpPut("b", "2"), clientv3.OpGet("", clientv3.WithFromKey()), clientv3.OpDelete("a", clientv3.WithPrevKV())).Commit()
	p.must(err)
	p.say("txn %v {%s}", txn.Succeeded, p.responses(txn.Responses))
	_, err = kv.Delete(p.ctx, "", clientv3.WithFromKey())
	p.must(err)
	p.events("watch", ch, 4)
	p.get("left", "", clientv3.WithPrefix())
}

func checkOrdering(p *probe) {
	violated := false
	kv := ordering.NewKV(p.KV, func(_ clientv3.Op, _ clientv3.OpResponse, _ int64) error {
		violated = true
		return errors.New("answered from an older revision")
	})
	for i := 0; i < 20; i++ {
		p.put("a", fmt.Sprint(i))
		_, err := kv.Get(p.ctx, "a")
		p.must(err)
		_, err = kv.Get(p.ctx, "a", clientv3.WithSerializable())
		p.must(err)
		_, err = kv.Txn(p.ctx).Then(clientv3.OpGet("a", clientv3.WithSerializable())).Commit()
		p.must(err)
	}
	p.say("violated %v", violated)
}

func checkMirror(p *probe) {
	for i := 0; i < 1100; i += 100 {
		var puts ops
		for j := i; j < i+100; j++ {
			puts = append(puts, clientv3.OpPut(fmt.Sprintf("m/%04d", j), fmt.Sprint(j)))
		}
		_, err := p.Txn(p.ctx).Then(puts...).Commit()
		p.must(err)
	}
	p.put("n", "outside")
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	syncer := mirror.NewSyncer(p.Client, "m/", 0)
	pages, errs := syncer.SyncBase(ctx)
	n, pageCount := 0, 0
	for page := range pages {
		pageCount++
		for _, kv := range page.Kvs {
			if string(kv.Key) != fmt.Sprintf("m/%04d", n) {
				p.say("out of order: %s", kv.Key)
			}
			n++
		}
	}
	for err := range errs {
		p.must(err)
	}
	p.say("%d keys in %d pages", n, pageCount)
	updates := syncer.SyncUpdates(ctx)
	p.put("m/new", "1")
	p.put("n", "2")
	p.txn("update", nil, ops{clientv3.OpPut("m/0001", "changed"), clientv3.OpDelete("m/0002")}, nil)
	p.events("update", updates, 3)
}
