// Command goclient drives one server through etcd's own Go client and prints one line per
// observation. Two servers that behave alike print the same lines: ids and times are never
// printed, and revisions are printed relative to the first one of each check.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/status"
)

const deadline = 15 * time.Second

// check is one group of observations, in a keyspace that starts empty.
type check struct {
	name string
	run  func(*probe)
}

// probe is what a check works with.
type probe struct {
	*clientv3.Client
	ctx  context.Context
	name string
	base int64 // the revision at the start of the check
}

// stop ends a check early; it is recovered by runCheck.
type stop struct{ reason string }

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: goclient HOST:PORT")
		os.Exit(2)
	}
	client := dial(os.Args[1])
	defer client.Close()
	failed := false
	for _, group := range [][]check{kvChecks, watchChecks, leaseChecks, concurrencyChecks, wrapperChecks} {
		for _, c := range group {
			if !runCheck(client, c) {
				failed = true
			}
		}
	}
	if failed {
		os.Exit(1)
	}
}

func dial(endpoint string) *clientv3.Client {
	client, err := clientv3.New(clientv3.Config{
		Endpoints:   []string{endpoint},
		DialTimeout: deadline,
		Logger:      zap.NewNop(),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	return client
}

func runCheck(client *clientv3.Client, c check) (passed bool) {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	p := &probe{Client: client, ctx: ctx, name: c.name}
	defer func() {
		switch r := recover().(type) {
		case nil:
			passed = true
		case stop:
			p.say("STOPPED %s", r.reason)
		default:
			panic(r)
		}
	}()
	leases, err := client.Leases(ctx)
	p.must(err)
	for _, lease := range leases.Leases {
		_, err := client.Revoke(ctx, lease.ID)
		p.must(err)
	}
	cleared, err := client.Delete(ctx, "", clientv3.WithFromKey())
	p.must(err)
	p.base = cleared.Header.Revision
	c.run(p)
	return true
}

func (p *probe) say(format string, args ...any) {
	fmt.Printf("%s: %s\n", p.name, fmt.Sprintf(format, args...))
}

// must ends the check when a call that has to work fails.
func (p *probe) must(err error) {
	if err != nil {
		panic(stop{describe(err)})
	}
}

func (p *probe) rel(revision int64) int64 {
	if revision == 0 {
		return 0
	}
	return revision - p.base
}

func (p *probe) put(key, value string, opts ...clientv3.OpOption) *clientv3.PutResponse {
	response, err := p.Put(p.ctx, key, value, opts...)
	p.must(err)
	return response
}

// describe prints the status code and text of an error, but no addresses.
func describe(err error) string {
	if err == nil {
		return "ok"
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "deadline exceeded"
	}
	var typed rpctypes.EtcdError
	if errors.As(err, &typed) {
		return fmt.Sprintf("%s: %s", typed.Code(), typed.Error())
	}
	if s, ok := status.FromError(err); ok {
		return fmt.Sprintf("%s: %s", s.Code(), s.Message())
	}
	return err.Error()
}

func sorted(values []string) string {
	sort.Strings(values)
	return strings.Join(values, " ")
}
