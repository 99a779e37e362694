package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

var concurrencyChecks = []check{
	{"mutex", checkMutex}, {"mutex counter", checkMutexCounter}, {"election", checkElection},
	{"stm serializable", stm(concurrency.Serializable)}, {"stm snapshot", stm(concurrency.SerializableSnapshot)},
	{"stm repeatable", stm(concurrency.RepeatableReads)}, {"stm committed", stm(concurrency.ReadCommitted)},
}

func (p *probe) session() *concurrency.Session {
	s, err := concurrency.NewSession(p.Client, concurrency.WithTTL(30), concurrency.WithContext(p.ctx))
	p.must(err)
	return s
}

func checkMutex(p *probe) {
	first, second := p.session(), p.session()
	defer second.Close()
	m1, m2 := concurrency.NewMutex(first, "lock"), concurrency.NewMutex(second, "lock")
	p.must(m1.Lock(p.ctx))
	p.say("locked at +%d", p.rel(m1.Header().Revision))
	err := m2.TryLock(p.ctx)
	p.say("second refused %v", errors.Is(err, concurrency.ErrLocked))
	p.txn("owner", cmps{m1.IsOwner()}, nil, nil)
	p.txn("not owner", cmps{m2.IsOwner()}, nil, nil)
	got := make(chan error, 1)
	go func() { got <- m2.Lock(p.ctx) }()
	p.waitForKeys("lock/", 2)
	select {
	case <-got:
		p.say("two hold the lock")
	default:
	}
	p.must(m1.Unlock(p.ctx))
	p.must(<-got)
	p.say("handed over")
	p.must(m2.Unlock(p.ctx))
	p.must(m1.Lock(p.ctx))
	go func() { got <- m2.Lock(p.ctx) }()
	p.waitForKeys("lock/", 2)
	p.must(first.Close())
	p.must(<-got)
	p.say("handed over when the session closed")
	p.must(m2.Unlock(p.ctx))
	p.get("no keys", "lock/", clientv3.WithPrefix())
}

func (p *probe) waitForKeys(prefix string, count int64) {
	for end := time.Now().Add(deadline); time.Now().Before(end); {
		r, err := p.Get(p.ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
		p.must(err)
		if r.Count == count {
			return
		}
	}
	panic(stop{fmt.Sprintf("%s never had %d keys", prefix, count)})
}

func checkMutexCounter(p *probe) {
	var done sync.WaitGroup
	errs := make([]error, 6)
	for worker := range errs {
		done.Add(1)
		go func() {
			defer done.Done()
			errs[worker] = increment(p.ctx, p.Client)
		}()
	}
	done.Wait()
	p.must(errors.Join(errs...))
	r, err := p.Get(p.ctx, "counter")
	p.must(err)
	p.say("counted %s in %d versions", r.Kvs[0].Value, r.Kvs[0].Version)
}

// increment adds ten to the counter, one at a time, with a plain get and put under the lock.
func increment(ctx context.Context, client *clientv3.Client) error {
	session, err := concurrency.NewSession(client, concurrency.WithContext(ctx))
	if err != nil {
		return err
	}
	defer session.Close()
	mutex := concurrency.NewMutex(session, "counter-lock")
	for i := 0; i < 10; i++ {
		if err := mutex.Lock(ctx); err != nil {
			return err
		}
		r, err := client.Get(ctx, "counter")
		if err != nil {
			return err
		}
		n := 0
		if len(r.Kvs) > 0 {
			n, _ = strconv.Atoi(string(r.Kvs[0].Value))
		}
		if _, err := client.Put(ctx, "counter", strconv.Itoa(n+1)); err != nil {
			return err
		}
		if err := mutex.Unlock(ctx); err != nil {
			return err
		}
	}
	return nil
}

func checkElection(p *probe) {
	s1, s2 := p.session(), p.session()
	defer s2.Close()
	e1, e2 := concurrency.NewElection(s1, "election"), concurrency.NewElection(s2, "election")
	_, err := e1.Leader(p.ctx)
	p.say("no leader %v", errors.Is(err, concurrency.ErrElectionNoLeader))
	p.must(e1.Campaign(p.ctx, "one"))
	observed := e2.Observe(p.ctx)
	p.say("observed %s", p.observe(observed))
	leader, err := e2.Leader(p.ctx)
	p.must(err)
	p.say("leader %s at +%d, elected at +%d", leader.Kvs[0].Value, p.rel(leader.Header.Revision), p.rel(e1.Rev()))
	p.must(e1.Proclaim(p.ctx, "one again"))
	p.say("observed %s", p.observe(observed))
	won := make(chan error, 1)
	go func() { won <- e2.Campaign(p.ctx, "two") }()
	p.waitForKeys("election/", 2)
	p.must(e1.Resign(p.ctx))
	p.must(<-won)
	p.say("observed %s", p.observe(observed))
	err = e1.Proclaim(p.ctx, "not any more")
	p.say("proclaim without leading: %s", describe(err))
	go func() { won <- e1.Campaign(p.ctx, "three") }()
	p.waitForKeys("election/", 2)
	p.must(s2.Close())
	p.must(<-won)
	p.say("observed %s", p.observe(observed))
	p.must(s1.Close())
	p.get("no keys", "election/", clientv3.WithPrefix())
}

func (p *probe) observe(observed <-chan *clientv3.GetResponse) string {
	select {
	case r, ok := <-observed:
		if !ok {
			panic(stop{"the observation was closed"})
		}
		return string(r.Kvs[0].Value)
	case <-time.After(deadline):
		panic(stop{"nothing observed in time"})
	}
}

// stm moves money between accounts from several workers; the sum must stay.
func stm(isolation concurrency.Isolation) func(*probe) {
	return func(p *probe) {
		for i := 0; i < 4; i++ {
			p.put(fmt.Sprintf("account%d", i), "100")
		}
		var done sync.WaitGroup
		errs := make([]error, 4)
		for worker := range errs {
			done.Add(1)
			go func() {
				defer done.Done()
				for i := 0; i < 8 && errs[worker] == nil; i++ {
					from, to := fmt.Sprintf("account%d", worker), fmt.Sprintf("account%d", (worker+i)%4)
					_, errs[worker] = concurrency.NewSTM(p.Client, func(s concurrency.STM) error {
						if from == to {
							return nil
						}
						a, _ := strconv.Atoi(s.Get(from))
						b, _ := strconv.Atoi(s.Get(to))
						s.Put(from, strconv.Itoa(a-5))
						s.Put(to, strconv.Itoa(b+5))
						return nil
					}, concurrency.WithIsolation(isolation), concurrency.WithAbortContext(p.ctx))
				}
			}()
		}
		done.Wait()
		p.must(errors.Join(errs...))
		r, err := p.Get(p.ctx, "account", clientv3.WithPrefix())
		p.must(err)
		sum := 0
		for _, kv := range r.Kvs {
			n, _ := strconv.Atoi(string(kv.Value))
			sum += n
		}
		// Weaker isolation may lose an update, so only the strong ones promise the sum.
		if isolation == concurrency.Serializable || isolation == concurrency.SerializableSnapshot {
			p.say("sum %d", sum)
		}
		deleted, err := concurrency.NewSTM(p.Client, func(s concurrency.STM) error {
			p.say("read %v of a missing key %q", s.Get("account0") != "", s.Get("missing"))
			s.Del("account0")
			s.Put("done", "yes")
			return nil
		}, concurrency.WithIsolation(isolation), concurrency.WithPrefetch("account0"))
		p.must(err)
		p.say("deleted %v", deleted.Succeeded)
		p.get("gone", "account0", clientv3.WithCountOnly())
	}
}
