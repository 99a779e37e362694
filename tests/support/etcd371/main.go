// Command etcd371 runs one etcd member of the version named in go.mod, for the conformance tests.
//
// It is etcd's own embed package with the few settings the tests need, so that a released server
// can be compared with on machines that only have a Go toolchain.
package main

import (
	"flag"
	"fmt"
	"log"
	"math"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

func main() {
	cfg := embed.NewConfig()
	client := flag.String("listen-client-url", "http://127.0.0.1:2379", "where clients connect")
	peer := flag.String("listen-peer-url", "http://127.0.0.1:2380", "where the member listens for peers")
	progress := flag.Duration("watch-progress-notify-interval", 10*time.Minute, "time between progress messages")
	flag.StringVar(&cfg.Dir, "data-dir", "", "the data directory, required")
	flag.UintVar(&cfg.TickMs, "heartbeat-interval", 10, "milliseconds between heartbeats")
	flag.UintVar(&cfg.ElectionMs, "election-timeout", 100, "milliseconds of an election timeout")
	flag.UintVar(&cfg.MaxTxnOps, "max-txn-ops", embed.DefaultMaxTxnOps, "operations in one transaction")
	flag.UintVar(&cfg.MaxRequestBytes, "max-request-bytes", embed.DefaultMaxRequestBytes, "bytes in one request")
	flag.Int64Var(&cfg.QuotaBackendBytes, "quota-backend-bytes", 0, "the space quota, 0 for the default")
	streams := flag.Uint("max-concurrent-streams", math.MaxUint32, "streams one connection may have open")
	flag.DurationVar(&cfg.GRPCKeepAliveMinTime, "grpc-keepalive-min-time", embed.DefaultGRPCKeepAliveMinTime, "how often a client may ping at most")
	flag.DurationVar(&cfg.GRPCKeepAliveInterval, "grpc-keepalive-interval", embed.DefaultGRPCKeepAliveInterval, "how often idle clients are pinged")
	flag.DurationVar(&cfg.GRPCKeepAliveTimeout, "grpc-keepalive-timeout", embed.DefaultGRPCKeepAliveTimeout, "how long an unanswered ping is waited for")
	clientHTTP := flag.String("listen-client-http-url", "", "where HTTP is served then, and not beside gRPC")
	metrics := flag.String("listen-metrics-url", "", "where metrics and health are served besides")
	hosts := flag.String("host-whitelist", "*", "the only host name that plain HTTP answers to")
	origins := flag.String("cors", "*", "the only origin that may read answers of HTTP")
	flag.StringVar(&cfg.ClientTLSInfo.CertFile, "cert-file", "", "the certificate for https URLs")
	flag.StringVar(&cfg.ClientTLSInfo.KeyFile, "key-file", "", "its key")
	flag.StringVar(&cfg.ClientTLSInfo.TrustedCAFile, "trusted-ca-file", "", "who signs the certificates of clients")
	flag.BoolVar(&cfg.ClientTLSInfo.ClientCertAuth, "client-cert-auth", false, "refuse clients without a certificate")
	flag.BoolVar(&cfg.UnsafeNoFsync, "unsafe-no-fsync", false, "never wait for the disk")
	flag.Parse()
	if cfg.Dir == "" {
		log.Fatal("--data-dir is required")
	}

	cfg.MaxConcurrentStreams = uint32(*streams)
	cfg.WatchProgressNotifyInterval = *progress
	cfg.ListenClientUrls = []url.URL{mustParse(*client)}
	cfg.AdvertiseClientUrls = cfg.ListenClientUrls
	if *clientHTTP != "" {
		cfg.ListenClientHttpUrls = []url.URL{mustParse(*clientHTTP)}
	}
	if *metrics != "" {
		cfg.ListenMetricsUrls = []url.URL{mustParse(*metrics)}
	}
	cfg.HostWhitelist = map[string]struct{}{*hosts: {}}
	cfg.CORS = map[string]struct{}{*origins: {}}
	cfg.ListenPeerUrls = []url.URL{mustParse(*peer)}
	cfg.AdvertisePeerUrls = cfg.ListenPeerUrls
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.LogLevel = "warn"

	etcd, err := embed.StartEtcd(cfg)
	if err != nil {
		log.Fatal(err)
	}
	<-etcd.Server.ReadyNotify()
	fmt.Fprintln(os.Stderr, "ready to serve client requests")

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	select {
	case <-stop:
		etcd.Close()
	case err := <-etcd.Err():
		log.Fatal(err)
	}
}

func mustParse(text string) url.URL {
	parsed, err := url.Parse(text)
	if err != nil {
		log.Fatal(err)
	}
	return *parsed
}
