package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

var watchChecks = []check{
	{"watch live", checkWatchLive}, {"watch history", checkWatchHistory}, {"watch filters", checkWatchFilters},
	{"watch prev", checkWatchPrev}, {"watch progress", checkWatchProgress}, {"watch compacted", checkWatchCompacted},
	{"watch fragment", checkWatchFragment}, {"watch cancel", checkWatchCancel}, {"watch many", checkWatchMany},
	{"watch future", checkWatchFuture}, {"watch whole transactions", checkWatchTxn},
}

// open creates a watch and returns when the server has confirmed it.
func (p *probe) open(ctx context.Context, key string, opts ...clientv3.OpOption) clientv3.WatchChan {
	ch := p.Watch(ctx, key, append(opts, clientv3.WithCreatedNotify())...)
	if r := p.next(ch); !r.Created {
		panic(stop{"the first response does not confirm the watch"})
	}
	return ch
}

func (p *probe) next(ch clientv3.WatchChan) clientv3.WatchResponse {
	select {
	case r, ok := <-ch:
		if !ok {
			panic(stop{"the watch was closed"})
		}
		return r
	case <-time.After(deadline):
		panic(stop{"no response in time"})
	}
}

// events prints the next events, however they are grouped in responses, with `prev` of each.
func (p *probe) events(label string, ch clientv3.WatchChan, count int) {
	for n := 0; n < count; {
		r := p.next(ch)
		if err := r.Err(); err != nil {
			p.say("%s: %s compacted +%d", label, describe(err), p.rel(r.CompactRevision))
			return
		}
		for _, e := range r.Events {
			n++
			p.say("%s: %s create %v modify %v %s prev %s", label, e.Type, e.IsCreate(), e.IsModify(), p.kv(e.Kv), p.kv(e.PrevKv))
		}
	}
}

func (p *probe) history() {
	p.put("a", "1")
	p.put("p/1", "x")
	p.put("a", "2")
	p.del("delete", "a")
	p.put("a", "3")
	p.txn("txn", nil, ops{clientv3.OpPut("p/2", "y"), clientv3.OpDelete("p/1"), clientv3.OpPut("a", "4")}, nil)
	p.put("b", "1")
}

func checkWatchLive(p *probe) {
	one := p.open(p.ctx, "a")
	all := p.open(p.ctx, "", clientv3.WithPrefix())
	part := p.open(p.ctx, "a", clientv3.WithRange("p/2"))
	p.history()
	p.events("one", one, 5)
	p.events("all", all, 9)
	p.events("part", part, 8)
}

func checkWatchHistory(p *probe) {
	p.history()
	for r := int64(1); r <= 7; r++ {
		ctx, cancel := context.WithCancel(p.ctx)
		p.put("a", "end")
		ch := p.Watch(ctx, "", clientv3.WithPrefix(), clientv3.WithRev(p.base+r))
		p.events(fmt.Sprintf("from +%d", r), ch, int(10-r))
		cancel()
	}
}

func checkWatchFilters(p *probe) {
	puts := p.open(p.ctx, "", clientv3.WithPrefix(), clientv3.WithFilterDelete())
	deletes := p.open(p.ctx, "", clientv3.WithPrefix(), clientv3.WithFilterPut())
	p.history()
	p.events("puts", puts, 7)
	p.events("deletes", deletes, 2)
}

func checkWatchPrev(p *probe) {
	live := p.open(p.ctx, "", clientv3.WithPrefix(), clientv3.WithPrevKV())
	p.history()
	p.events("live", live, 9)
	old := p.Watch(p.ctx, "", clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithRev(p.base+1))
	p.events("old", old, 9)
	_, err := p.Compact(p.ctx, p.base+5)
	p.must(err)
	compacted := p.Watch(p.ctx, "", clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithRev(p.base+5))
	p.events("compacted", compacted, 5)
}

func checkWatchProgress(p *probe) {
	// A progress answer covers every watch of its stream, and a stream belongs to one context
	// value; a context of our own keeps the streams of other checks out of it.
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(p.ctx))
	defer cancel()
	ch := p.open(ctx, "a", clientv3.WithProgressNotify())
	r := p.put("a", "1")
	p.events("event", ch, 1)
	p.put("elsewhere", "1")
	p.must(p.RequestProgress(ctx))
	answer := p.next(ch)
	p.say("progress %v events %d not behind %v not ahead %v", answer.IsProgressNotify(), len(answer.Events),
		answer.Header.Revision >= r.Header.Revision, answer.Header.Revision <= r.Header.Revision+1)
	p.put("a", "2")
	p.events("event after progress", ch, 1)
}

func checkWatchCompacted(p *probe) {
	p.history()
	_, err := p.Compact(p.ctx, p.base+4)
	p.must(err)
	ch := p.Watch(p.ctx, "a", clientv3.WithRev(p.base+1))
	r := p.next(ch)
	p.say("canceled %v compacted +%d %s", r.Canceled, p.rel(r.CompactRevision), describe(r.Err()))
	_, open := <-ch
	p.say("still open %v", open)
	at := p.Watch(p.ctx, "a", clientv3.WithRev(p.base+4))
	p.events("at the compacted revision", at, 3)
}

func checkWatchFragment(p *probe) {
	// One revision that is larger than what a watch response may hold, as ten values of 200 KiB.
	start := p.base + 1
	for round := 0; round < 10; round++ {
		p.put(fmt.Sprintf("big%d", round), strings.Repeat("x", 200*1024))
	}
	ch := p.Watch(p.ctx, "big", clientv3.WithPrefix(), clientv3.WithRev(start), clientv3.WithFragment())
	bytes, n := 0, 0
	for n < 10 {
		for _, e := range p.next(ch).Events {
			if got := fmt.Sprintf("big%d", n); got != string(e.Kv.Key) {
				p.say("out of order: %s", e.Kv.Key)
			}
			n++
			bytes += len(e.Kv.Value)
		}
	}
	p.say("%d events with %d bytes", n, bytes)
}

func checkWatchCancel(p *probe) {
	ctx, cancel := context.WithCancel(p.ctx)
	ch := p.open(ctx, "a")
	other := p.open(p.ctx, "a")
	cancel()
	for range ch { // drained until closed
	}
	p.put("a", "1")
	p.events("other", other, 1)
	again := p.open(p.ctx, "a")
	p.put("a", "2")
	p.events("other", other, 1)
	p.events("again", again, 1)
}

func checkWatchMany(p *probe) {
	var channels []clientv3.WatchChan
	for i := 0; i < 100; i++ {
		channels = append(channels, p.open(p.ctx, fmt.Sprintf("key%02d", i)))
	}
	for i := 0; i < 100; i++ {
		p.put(fmt.Sprintf("key%02d", i), "1")
	}
	for i, ch := range channels {
		p.events(fmt.Sprintf("%02d", i), ch, 1)
	}
}

func checkWatchFuture(p *probe) {
	ch := p.open(p.ctx, "a", clientv3.WithRev(p.base+3))
	for i := 0; i < 5; i++ {
		p.put("a", fmt.Sprint(i))
	}
	p.events("future", ch, 3)
}

func checkWatchTxn(p *probe) {
	ch := p.open(p.ctx, "", clientv3.WithPrefix())
	p.txn("first", nil, ops{clientv3.OpPut("b", "1"), clientv3.OpPut("a", "1"), clientv3.OpPut("c", "1")}, nil)
	r := p.next(ch)
	p.say("%d events in one response at +%d", len(r.Events), p.rel(r.Header.Revision))
	p.txn("second", nil, ops{clientv3.OpDelete("", clientv3.WithFromKey()), clientv3.OpGet("a")}, nil)
	r = p.next(ch)
	for _, e := range r.Events {
		p.say("one response: %s %s", e.Type, p.kv(e.Kv))
	}
}
