package demo

// A steady, light load: a request every so often, whatever has become of the earlier ones.

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// loadOpenMax bounds the requests that wait for an answer; more are skipped, so that
// the load stays light whatever happens.
const loadOpenMax = 32

// A Load sends requests at a steady rate. The counters may be read while it runs.
type Load struct {
	URL  string
	Rate int // requests per second

	OK     atomic.Int64
	Failed atomic.Int64
}

// Run sends requests until ctx is done and returns when the last has been answered.
func (l *Load) Run(ctx context.Context) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: loadOpenMax}, Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(time.Second / time.Duration(max(1, l.Rate)))
	defer tick.Stop()
	open := make(chan struct{}, loadOpenMax)
	var group sync.WaitGroup
	defer group.Wait()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		select {
		case open <- struct{}{}:
		default:
			continue
		}
		group.Go(func() {
			l.one(client, n)
			<-open
		})
	}
}

// one is not cut short by the end of the load: that would count as a failure of no service.
func (l *Load) one(client *http.Client, n int) {
	response, err := client.Get(fmt.Sprintf("%s/demo/%d", l.URL, n))
	if err == nil {
		_, err = io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
	if err != nil || response.StatusCode != http.StatusOK {
		l.Failed.Add(1)
		return
	}
	l.OK.Add(1)
}
