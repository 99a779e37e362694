package main

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

var leaseChecks = []check{
	{"lease", checkLease}, {"lease keepalive", checkKeepAlive}, {"lease expiry", checkExpiry},
	{"lease refused", checkLeaseRefused},
}

func (p *probe) grant(ttl int64) clientv3.LeaseID {
	r, err := p.Grant(p.ctx, ttl)
	p.must(err)
	return r.ID
}

func checkLease(p *probe) {
	granted, err := p.Grant(p.ctx, 100)
	p.must(err)
	p.say("granted %d error %q revision +%d", granted.TTL, granted.Error, p.rel(granted.Revision))
	for _, key := range []string{"c", "a", "b"} {
		p.put(key, "1", clientv3.WithLease(granted.ID))
	}
	ttl, err := p.TimeToLive(p.ctx, granted.ID, clientv3.WithAttachedKeys())
	p.must(err)
	var keys []string
	for _, key := range ttl.Keys {
		keys = append(keys, string(key))
	}
	p.say("granted %d remaining %v keys %s", ttl.GrantedTTL, ttl.TTL > 85 && ttl.TTL <= 100, sorted(keys))
	ttl, err = p.TimeToLive(p.ctx, granted.ID)
	p.must(err)
	p.say("keys %d without asking", len(ttl.Keys))
	short, long := p.grant(50), p.grant(5000)
	leases, err := p.Leases(p.ctx)
	p.must(err)
	p.say("listed in order of their end %v", len(leases.Leases) == 3 && leases.Leases[0].ID == short &&
		leases.Leases[1].ID == granted.ID && leases.Leases[2].ID == long)
	watch := p.open(p.ctx, "", clientv3.WithPrefix(), clientv3.WithPrevKV())
	revoked, err := p.Revoke(p.ctx, granted.ID)
	p.must(err)
	p.say("revoked +%d", p.rel(revoked.Header.Revision))
	p.events("revoke", watch, 3)
	revoked, err = p.Revoke(p.ctx, short)
	p.must(err)
	p.say("revoked without keys +%d", p.rel(revoked.Header.Revision))
}

func checkKeepAlive(p *probe) {
	lease := p.grant(2)
	p.put("a", "1", clientv3.WithLease(lease))
	ctx, cancel := context.WithCancel(p.ctx)
	ch, err := p.KeepAlive(ctx, lease)
	p.must(err)
	for i := 0; i < 4; i++ {
		select {
		case r := <-ch:
			p.say("kept alive for %d", r.TTL)
		case <-time.After(deadline):
			panic(stop{"no keepalive in time"})
		}
	}
	p.get("still there", "a")
	cancel()
	once, err := p.KeepAliveOnce(p.ctx, lease)
	p.must(err)
	p.say("once for %d", once.TTL)
	other := p.grant(60)
	closing, err := p.KeepAlive(p.ctx, other)
	p.must(err)
	<-closing
	_, err = p.Revoke(p.ctx, other)
	p.must(err)
	_, err = p.KeepAliveOnce(p.ctx, other)
	p.say("once when revoked: %s", describe(err))
	_, err = p.KeepAliveOnce(p.ctx, 1234)
	p.say("once when unknown: %s", describe(err))
}

func checkExpiry(p *probe) {
	watch := p.open(p.ctx, "", clientv3.WithPrefix())
	lease := p.grant(1)
	p.put("b", "1", clientv3.WithLease(lease))
	p.put("a", "1", clientv3.WithLease(lease))
	p.events("expiry", watch, 4)
	ttl, err := p.TimeToLive(p.ctx, lease)
	p.must(err)
	p.say("remaining %d granted %d", ttl.TTL, ttl.GrantedTTL)
}

func checkLeaseRefused(p *probe) {
	_, err := p.Revoke(p.ctx, 1234)
	p.say("revoke: %s", describe(err))
	ttl, err := p.TimeToLive(p.ctx, 1234)
	p.must(err)
	p.say("time to live %d", ttl.TTL)
	for _, seconds := range []int64{0, -1, 9_000_000_000, 9_000_000_001} {
		r, err := p.Grant(p.ctx, seconds)
		p.say("grant %d: %s", seconds, describe(err))
		if err == nil {
			p.say("granted %d", r.TTL)
		}
	}
}
