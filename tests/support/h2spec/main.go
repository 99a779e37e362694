// Command h2spec runs the HTTP/2 conformance tests of the module of that name against one server.
//
// It is the module's command with the few settings the tests need: the module's own needs more
// packages than are worth pinning. The results go to a JUnit file, which tells them apart by section.
package main

import (
	"flag"
	"log"
	"os"
	"time"

	"github.com/summerwind/h2spec"
	"github.com/summerwind/h2spec/config"
)

func main() {
	cfg := &config.Config{Path: "/", MaxHeaderLen: 4000}
	flag.StringVar(&cfg.Host, "host", "127.0.0.1", "where the server is")
	flag.IntVar(&cfg.Port, "port", 0, "its port, required")
	flag.DurationVar(&cfg.Timeout, "timeout", 2*time.Second, "how long one answer is waited for")
	flag.BoolVar(&cfg.Strict, "strict", false, "run the tests of SHOULD and MAY too")
	flag.BoolVar(&cfg.TLS, "tls", false, "connect with TLS, whoever the server is")
	flag.StringVar(&cfg.JUnitReport, "junit-report", "", "a file for the results")
	flag.Parse()
	if cfg.Port == 0 {
		log.Fatal("--port is required")
	}
	cfg.Insecure = cfg.TLS
	cfg.Sections = flag.Args()

	passed, err := h2spec.Run(cfg)
	if err != nil {
		log.Fatal(err)
	}
	if !passed {
		os.Exit(1)
	}
}
