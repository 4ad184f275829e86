package rig

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// What the operator's side costs is measured by test/bench and by make bench. Here is, for both, how
// it is configured and who asks for metrics meanwhile.

// Operate is what is on of the operator's side. The zero value is all off: metrics are counted, as
// they always are, but nobody reads them.
type Operate struct {
	Log    string // file of the access log; empty: there is none
	Status string // address of the listener that metrics are scraped at; empty: they are not
	Trace  bool   // traceparent: traces are passed on, without spans
	Spans  string // URL of the receiver that gets the spans of one trace in a hundred; empty: there are none
}

// Config is what it adds to a configuration of poise.
func (o Operate) Config() string {
	var b strings.Builder
	if o.Log != "" {
		fmt.Fprintf(&b, "access_log: %s\n", o.Log)
	}
	if o.Status != "" {
		fmt.Fprintf(&b, "status: %s\n", o.Status)
	}
	switch {
	case o.Spans != "":
		fmt.Fprintf(&b, "tracing: {otlp: %q, sample: 1%%}\n", o.Spans)
	case o.Trace:
		b.WriteString("tracing: {propagation: [w3c]}\n")
	}
	return b.String()
}

// Spans starts a receiver of spans by OTLP, which takes them all and looks at none. got is how many
// requests it had.
func Spans(t testing.TB) (url string, got func() int) {
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/x-protobuf")
		n.Add(1)
	}))
	t.Cleanup(s.Close)
	return s.URL, func() int { return int(n.Load()) }
}

// scrapeEvery is the interval of scrapes: 15 times as often as Prometheus does by default.
const scrapeEvery = time.Second

// Scrape asks an address for metrics, as Prometheus does, half a second from now and then every
// second, until the returned function is called, which returns how many were had. A scrape that
// fails is an error of the test.
func Scrape(t testing.TB, address string) (stop func() int) {
	end, done, n := make(chan struct{}), make(chan struct{}), 0
	go func() {
		defer close(done)
		client := &http.Client{Timeout: 10 * time.Second}
		defer client.CloseIdleConnections()
		wait := time.NewTimer(scrapeEvery / 2)
		defer wait.Stop()
		for {
			select {
			case <-wait.C:
			case <-end:
				return
			}
			wait.Reset(scrapeEvery)
			if err := scrape(client, address); err != nil {
				t.Error(err)
				return
			}
			n++
		}
	}()
	return func() int {
		close(end)
		<-done
		return n
	}
}

func scrape(client *http.Client, address string) error {
	ask, err := http.NewRequest("GET", "http://"+address+"/metrics", nil)
	if err != nil {
		return err
	}
	ask.Header.Set("Accept", "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3")
	answer, err := client.Do(ask)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	// The text is not kept: two megabytes of it would be garbage beside what is measured.
	room, size, found := make([]byte, 64<<10), 0, false
	for err == nil {
		var n int
		n, err = io.ReadFull(answer.Body, room)
		size += n
		found = found || bytes.Contains(room[:n], []byte("poise_requests_total{")) // at the front
	}
	if err != io.EOF && err != io.ErrUnexpectedEOF || answer.StatusCode != http.StatusOK || !found {
		return fmt.Errorf("a scrape: status %d, %d bytes, %v", answer.StatusCode, size, err)
	}
	return nil
}
