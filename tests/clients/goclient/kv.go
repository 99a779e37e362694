package main

import (
	"fmt"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

var kvChecks = []check{
	{"put", checkPut}, {"get", checkGet}, {"get options", checkGetOptions}, {"delete", checkDelete},
	{"txn", checkTxn}, {"txn compares", checkCompares}, {"txn refused", checkTxnRefused},
	{"compact", checkCompact}, {"maintenance", checkMaintenance},
	{"alarms", checkAlarms}, {"hash", checkHash}, {"defragment", checkDefragment}, {"members refused", checkMembersRefused},
}

func (p *probe) kv(kv *mvccpb.KeyValue) string {
	if kv == nil {
		return "none"
	}
	leased := ""
	if kv.Lease != 0 {
		leased = " leased"
	}
	return fmt.Sprintf("%q=%q create+%d mod+%d v%d%s",
		kv.Key, kv.Value, p.rel(kv.CreateRevision), p.rel(kv.ModRevision), kv.Version, leased)
}

func (p *probe) kvs(kvs []*mvccpb.KeyValue) string {
	var parts []string
	for _, kv := range kvs {
		parts = append(parts, p.kv(kv))
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func (p *probe) get(label, key string, opts ...clientv3.OpOption) {
	r, err := p.Get(p.ctx, key, opts...)
	if err != nil {
		p.say("%s: %s", label, describe(err))
		return
	}
	p.say("%s: +%d count %d more %v %s", label, p.rel(r.Header.Revision), r.Count, r.More, p.kvs(r.Kvs))
}

func checkPut(p *probe) {
	r := p.put("a", "1")
	p.say("first +%d prev %s", p.rel(r.Header.Revision), p.kv(r.PrevKv))
	r = p.put("a", "2", clientv3.WithPrevKV())
	p.say("second +%d prev %s", p.rel(r.Header.Revision), p.kv(r.PrevKv))
	r = p.put("fresh", "", clientv3.WithPrevKV())
	p.say("fresh +%d prev %s", p.rel(r.Header.Revision), p.kv(r.PrevKv))
	lease, err := p.Grant(p.ctx, 60)
	p.must(err)
	p.put("a", "3", clientv3.WithLease(lease.ID))
	p.put("a", "", clientv3.WithIgnoreValue(), clientv3.WithLease(lease.ID))
	p.get("ignore value", "a")
	p.put("a", "4", clientv3.WithIgnoreLease())
	p.get("ignore lease", "a")
	p.put("a", "5")
	p.get("without lease", "a")
	_, err = p.Put(p.ctx, "", "1")
	p.say("empty key: %s", describe(err))
	_, err = p.Put(p.ctx, "a", "1", clientv3.WithLease(1234))
	p.say("unknown lease: %s", describe(err))
	_, err = p.Put(p.ctx, "missing", "", clientv3.WithIgnoreValue())
	p.say("ignore value of a missing key: %s", describe(err))
	_, err = p.Put(p.ctx, "missing", "1", clientv3.WithIgnoreLease())
	p.say("ignore lease of a missing key: %s", describe(err))
	_, err = p.Put(p.ctx, "a", "1", clientv3.WithIgnoreValue())
	p.say("ignore value with a value: %s", describe(err))
	_, err = p.Put(p.ctx, "a", "1", clientv3.WithIgnoreLease(), clientv3.WithLease(lease.ID))
	p.say("ignore lease with a lease: %s", describe(err))
	_, err = p.Put(p.ctx, "large", strings.Repeat("x", 1536*1024))
	p.say("too large: %s", describe(err))
	_, err = p.Put(p.ctx, "huge", strings.Repeat("x", 2*1024*1024))
	p.say("larger than a message: %s", describe(err))
	p.get("all", "", clientv3.WithPrefix())
}

func fill(p *probe) {
	for _, kv := range []string{"a=9", "aa=5", "ab=7", "b=1", "c/1=8", "c/2=2", "d=3", "b=1b", "aa=5b", "b=1c"} {
		key, value, _ := strings.Cut(kv, "=")
		p.put(key, value)
	}
}

func checkGet(p *probe) {
	fill(p)
	p.get("one", "a")
	p.get("missing", "zz")
	p.get("range", "a", clientv3.WithRange("c"))
	p.get("inverted", "c", clientv3.WithRange("a"))
	p.get("empty interval", "c", clientv3.WithRange("c"))
	p.get("prefix", "a", clientv3.WithPrefix())
	p.get("everything", "", clientv3.WithPrefix())
	p.get("from key", "b", clientv3.WithFromKey())
	p.get("from the first key", "", clientv3.WithFromKey())
	p.get("prefix of 0xff", "\xff\xff", clientv3.WithPrefix())
	p.get("serializable", "a", clientv3.WithSerializable())
	p.get("empty key", "")
	for r := int64(0); r <= 12; r += 2 {
		p.get(fmt.Sprintf("at +%d", r), "", clientv3.WithPrefix(), clientv3.WithRev(p.base+r))
	}
}

func checkGetOptions(p *probe) {
	fill(p)
	for _, limit := range []int64{0, 1, 3, 6, 7, 8} {
		p.get(fmt.Sprintf("limit %d", limit), "", clientv3.WithPrefix(), clientv3.WithLimit(limit))
	}
	p.get("keys only", "", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	p.get("count only", "", clientv3.WithPrefix(), clientv3.WithCountOnly())
	p.get("count only with limit", "", clientv3.WithPrefix(), clientv3.WithCountOnly(), clientv3.WithLimit(2))
	p.get("keys and count only", "", clientv3.WithPrefix(), clientv3.WithCountOnly(), clientv3.WithKeysOnly())
	p.get("min mod", "", clientv3.WithPrefix(), clientv3.WithMinModRev(p.base+5))
	p.get("max mod", "", clientv3.WithPrefix(), clientv3.WithMaxModRev(p.base+5))
	p.get("min create", "", clientv3.WithPrefix(), clientv3.WithMinCreateRev(p.base+3), clientv3.WithLimit(2))
	p.get("max create", "", clientv3.WithPrefix(), clientv3.WithMaxCreateRev(p.base+3), clientv3.WithLimit(2))
	targets := []clientv3.SortTarget{
		clientv3.SortByKey, clientv3.SortByCreateRevision, clientv3.SortByModRevision, clientv3.SortByValue,
	}
	for _, target := range targets {
		for _, order := range []clientv3.SortOrder{clientv3.SortNone, clientv3.SortAscend, clientv3.SortDescend} {
			for _, limit := range []int64{0, 3} {
				label := fmt.Sprintf("sort %d order %d limit %d", target, order, limit)
				p.get(label, "", clientv3.WithPrefix(), clientv3.WithSort(target, order), clientv3.WithLimit(limit))
			}
		}
	}
	p.get("by version", "b", clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByVersion, clientv3.SortDescend))
	p.get("first key", "a", clientv3.WithFirstKey()...)
	p.get("last key", "a", clientv3.WithLastKey()...)
	p.get("first create", "a", clientv3.WithFirstCreate()...)
	p.get("last create", "a", clientv3.WithLastCreate()...)
	p.get("first rev", "a", clientv3.WithFirstRev()...)
	p.get("last rev", "a", clientv3.WithLastRev()...)
}

func (p *probe) del(label, key string, opts ...clientv3.OpOption) {
	r, err := p.Delete(p.ctx, key, opts...)
	if err != nil {
		p.say("%s: %s", label, describe(err))
		return
	}
	p.say("%s: +%d deleted %d prev %s", label, p.rel(r.Header.Revision), r.Deleted, p.kvs(r.PrevKvs))
}

func checkDelete(p *probe) {
	fill(p)
	p.del("one", "a")
	p.del("again", "a")
	p.del("inverted", "c", clientv3.WithRange("a"))
	p.del("with prev", "b", clientv3.WithPrevKV())
	p.put("b", "back")
	p.get("back", "b")
	p.del("range", "b", clientv3.WithRange("c/2"), clientv3.WithPrevKV())
	p.del("prefix", "c", clientv3.WithPrefix(), clientv3.WithPrevKV())
	p.del("empty key", "")
	p.del("from key", "", clientv3.WithFromKey(), clientv3.WithPrevKV())
	p.get("nothing", "", clientv3.WithPrefix())
}

func (p *probe) responses(responses []*pb.ResponseOp) string {
	var parts []string
	for _, op := range responses {
		switch {
		case op.GetResponsePut() != nil:
			r := op.GetResponsePut()
			parts = append(parts, fmt.Sprintf("put +%d prev %s", p.rel(r.Header.GetRevision()), p.kv(r.PrevKv)))
		case op.GetResponseRange() != nil:
			r := op.GetResponseRange()
			parts = append(parts, fmt.Sprintf("range +%d count %d more %v %s",
				p.rel(r.Header.GetRevision()), r.Count, r.More, p.kvs(r.Kvs)))
		case op.GetResponseDeleteRange() != nil:
			r := op.GetResponseDeleteRange()
			parts = append(parts, fmt.Sprintf("delete +%d %d %s", p.rel(r.Header.GetRevision()), r.Deleted, p.kvs(r.PrevKvs)))
		case op.GetResponseTxn() != nil:
			r := op.GetResponseTxn()
			parts = append(parts, fmt.Sprintf("txn +%d %v {%s}", p.rel(r.Header.GetRevision()), r.Succeeded, p.responses(r.Responses)))
		default:
			parts = append(parts, "nothing")
		}
	}
	return strings.Join(parts, "; ")
}

func (p *probe) txn(label string, cmps []clientv3.Cmp, then, otherwise []clientv3.Op) {
	r, err := p.Txn(p.ctx).If(cmps...).Then(then...).Else(otherwise...).Commit()
	if err != nil {
		p.say("%s: %s", label, describe(err))
		return
	}
	p.say("%s: +%d %v {%s}", label, p.rel(r.Header.Revision), r.Succeeded, p.responses(r.Responses))
}

type cmps = []clientv3.Cmp
type ops = []clientv3.Op

func checkTxn(p *probe) {
	fill(p)
	equal := clientv3.Compare(clientv3.Value("a"), "=", "9")
	unequal := clientv3.Compare(clientv3.Value("a"), "!=", "9")
	p.txn("empty", nil, nil, nil)
	p.txn("then", cmps{equal}, ops{clientv3.OpPut("a", "10", clientv3.WithPrevKV()), clientv3.OpGet("a")}, nil)
	p.txn("else", cmps{equal}, nil, ops{
		clientv3.OpGet("a"), clientv3.OpDelete("a", clientv3.WithPrevKV()), clientv3.OpGet("a"),
		clientv3.OpPut("b", "new"), clientv3.OpGet("", clientv3.WithPrefix(), clientv3.WithLimit(2)),
		clientv3.OpDelete("c/", clientv3.WithPrefix(), clientv3.WithPrevKV()),
	})
	p.txn("reads only", nil, ops{clientv3.OpGet("b"), clientv3.OpGet("", clientv3.WithPrefix(), clientv3.WithCountOnly())}, nil)
	p.txn("deletes nothing", nil, ops{clientv3.OpDelete("a")}, nil)
	p.txn("an old read after a write", nil, ops{
		clientv3.OpPut("b", "newer"), clientv3.OpGet("b"), clientv3.OpGet("b", clientv3.WithRev(p.base+4)),
	}, nil)
	inner := clientv3.OpTxn(cmps{clientv3.Compare(clientv3.Version("n"), "=", 0)},
		ops{clientv3.OpPut("inner", "then"), clientv3.OpGet("n")}, ops{clientv3.OpPut("inner", "else")})
	p.txn("nested", cmps{unequal}, ops{clientv3.OpPut("x", "1")}, ops{clientv3.OpPut("n", "1"), inner})
	p.txn("nested in then", nil, ops{clientv3.OpPut("n", "2"), inner,
		clientv3.OpTxn(nil, ops{clientv3.OpTxn(nil, ops{clientv3.OpGet("inner"), clientv3.OpDelete("n")}, nil)}, nil),
		clientv3.OpGet("n")}, nil)
	p.get("all", "", clientv3.WithPrefix())
}

func checkCompares(p *probe) {
	lease, err := p.Grant(p.ctx, 60)
	p.must(err)
	p.put("a", "1")
	r := p.put("a", "2", clientv3.WithLease(lease.ID))
	p.put("b", "2")
	rev := r.Header.Revision
	for _, key := range []string{"a", "missing"} {
		for _, sign := range []string{"=", "!=", "<", ">"} {
			line := ""
			for offset := int64(-1); offset <= 1; offset++ {
				for _, c := range (cmps{
					clientv3.Compare(clientv3.Value(key), sign, fmt.Sprint(2+offset)),
					clientv3.Compare(clientv3.Version(key), sign, 2+offset),
					clientv3.Compare(clientv3.CreateRevision(key), sign, rev-1+offset),
					clientv3.Compare(clientv3.ModRevision(key), sign, rev+offset),
					clientv3.Compare(clientv3.LeaseValue(key), sign, int64(lease.ID)+offset),
					clientv3.Compare(clientv3.Version(key), sign, 0),
				}) {
					t, err := p.Txn(p.ctx).If(c).Commit()
					p.must(err)
					line += map[bool]string{true: "T", false: "F"}[t.Succeeded]
				}
				line += " "
			}
			p.say("%s %s %s", key, sign, line)
		}
	}
	p.txn("whole range true", cmps{clientv3.Compare(clientv3.Value("a").WithRange("c"), "=", "2")}, nil, nil)
	p.txn("whole range false", cmps{clientv3.Compare(clientv3.Version("a").WithRange("c"), "=", 2)}, nil, nil)
	p.txn("prefix without keys", cmps{clientv3.Compare(clientv3.Version("zz").WithPrefix(), "=", 0)}, nil, nil)
	p.txn("value of no keys", cmps{clientv3.Compare(clientv3.Value("zz").WithPrefix(), "!=", "x")}, nil, nil)
}

func checkTxnRefused(p *probe) {
	p.put("a", "1")
	put := clientv3.OpPut("b", "1")
	p.txn("two puts", nil, ops{put, put}, nil)
	p.txn("two puts in else", nil, nil, ops{put, put})
	p.txn("put in a deleted range", nil, ops{clientv3.OpDelete("a", clientv3.WithPrefix()), clientv3.OpPut("ab", "1")}, nil)
	p.txn("delete after put", nil, ops{put, clientv3.OpDelete("b")}, nil)
	p.txn("put again in a nested txn", nil, ops{put, clientv3.OpTxn(nil, ops{put}, nil)}, nil)
	p.txn("put in both nested branches", nil, ops{clientv3.OpTxn(nil, ops{put}, ops{put})}, nil)
	p.txn("two deletes", nil, ops{clientv3.OpDelete("b"), clientv3.OpDelete("b")}, nil)
	p.txn("empty key", nil, ops{clientv3.OpPut("", "1")}, nil)
	p.txn("empty key not taken", nil, ops{put}, ops{clientv3.OpGet("")})
	p.txn("empty key compared", cmps{clientv3.Compare(clientv3.Version(""), "=", 0)}, ops{put}, nil)
	p.txn("unknown lease", nil, ops{put, clientv3.OpPut("c", "1", clientv3.WithLease(1234))}, nil)
	p.txn("unknown lease not taken", nil, nil, ops{clientv3.OpPut("c", "1", clientv3.WithLease(1234))})
	p.txn("future read", nil, ops{put, clientv3.OpGet("a", clientv3.WithRev(p.base+1000))}, nil)
	p.txn("ignored value missing", nil, ops{put, clientv3.OpPut("c", "", clientv3.WithIgnoreValue())}, nil)
	for _, count := range []int{128, 129} {
		var many ops
		for i := 0; i < count; i++ {
			many = append(many, clientv3.OpPut(fmt.Sprintf("many%03d", i), "x"))
		}
		r, err := p.Txn(p.ctx).Then(many...).Commit()
		p.say("%d operations: %s", count, describe(err))
		if err == nil {
			p.say("%d responses at +%d", len(r.Responses), p.rel(r.Header.Revision))
		}
	}
	p.get("all but many", "a", clientv3.WithRange("m"))
}

func checkCompact(p *probe) {
	for i := 0; i < 5; i++ {
		p.put("a", fmt.Sprint(i))
	}
	p.del("delete", "a")
	p.put("b", "1")
	for _, rev := range []int64{3, 3, 2, 100, 6} {
		_, err := p.Compact(p.ctx, p.base+rev)
		p.say("at +%d: %s", rev, describe(err))
		for r := int64(1); r <= 7; r++ {
			p.get(fmt.Sprintf("read +%d", r), "", clientv3.WithPrefix(), clientv3.WithRev(p.base+r))
		}
	}
	_, err := p.Compact(p.ctx, p.base+7, clientv3.WithCompactPhysical())
	p.say("physical: %s", describe(err))
	p.get("now", "", clientv3.WithPrefix())
	p.txn("compacted read", nil, ops{clientv3.OpPut("c", "1"), clientv3.OpGet("a", clientv3.WithRev(p.base+1))}, nil)
}

func checkMaintenance(p *probe) {
	endpoint := p.Endpoints()[0]
	s, err := p.Status(p.ctx, endpoint)
	p.must(err)
	p.say("status +%d leader %v learner %v errors %v size %v index %v",
		p.rel(s.Header.Revision), s.Leader == s.Header.MemberId, s.IsLearner, s.Errors, s.DbSize > 0, s.RaftAppliedIndex <= s.RaftIndex)
	members, err := p.MemberList(p.ctx)
	p.must(err)
	for _, m := range members.Members {
		p.say("member %q learner %v self %v clients %d", m.Name, m.IsLearner, m.ID == s.Header.MemberId, len(m.ClientURLs))
	}
	again, err := p.Status(p.ctx, endpoint)
	p.must(err)
	p.say("index stands still %v", again.RaftIndex == s.RaftIndex)
}

func checkAlarms(p *probe) {
	alarms, err := p.AlarmList(p.ctx)
	p.must(err)
	p.say("alarms %d", len(alarms.Alarms))
	disarmed, err := p.AlarmDisarm(p.ctx, &clientv3.AlarmMember{})
	p.must(err)
	p.say("disarmed %d", len(disarmed.Alarms))
}

func checkHash(p *probe) {
	endpoint := p.Endpoints()[0]
	p.put("a", "1")
	h1, err := p.HashKV(p.ctx, endpoint, 0)
	p.must(err)
	h2, err := p.HashKV(p.ctx, endpoint, h1.Header.Revision)
	p.must(err)
	p.say("hash repeats %v at +%d", h1.Hash == h2.Hash, p.rel(h1.HashRevision))
	_, err = p.HashKV(p.ctx, endpoint, p.base+1000)
	p.say("hash of the future: %s", describe(err))
}

func checkDefragment(p *probe) {
	p.put("a", "1")
	_, err := p.Defragment(p.ctx, p.Endpoints()[0])
	p.say("defragment: %s", describe(err))
	p.get("after", "a")
}

func checkMembersRefused(p *probe) {
	_, err := p.MemberRemove(p.ctx, 1234)
	p.say("remove an unknown member: %s", describe(err))
	_, err = p.MemberUpdate(p.ctx, 1234, []string{"http://127.0.0.1:9"})
	p.say("update an unknown member: %s", describe(err))
	_, err = p.MemberPromote(p.ctx, 1234)
	p.say("promote an unknown member: %s", describe(err))
	_, err = p.MoveLeader(p.ctx, 1234)
	p.say("move the leader: %s", describe(err))
}
