package fair

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise/test/internal/rig"
)

const (
	probeEvery  = 50 * time.Millisecond
	probeRounds = 4 // at least
	probeMost   = 9 // and at most: other programs may disturb every one of the first
	// probeRound is short of a second: of one second the kernel keeps a twentieth for those
	// who have no precedence.
	probeRound = 700 * time.Millisecond
	// lateMax is how late a verdict may be.
	lateMax = 50 * time.Millisecond
	// busyMin is how much of its processor a proxy must have used for a round to count: if
	// the clients were left no time it had nothing to do.
	busyMin = 0.5
)

var probeLine = regexp.MustCompile(`(?m)^probe (\d+) (\d+)$`)

// TestProbesAreInTimeAtFullLoad: a proxy that is asked for more than it can do probes as
// often as it should, and sees what endpoints answer. If it did not it would eject those
// that are healthy, and then have even more to do.
func TestProbesAreInTimeAtFullLoad(t *testing.T) {
	measuring(t)
	origin, probed, address := rig.Address(t), rig.Address(t), rig.Address(t)
	begin(t, loadCore, "origin", origin, "first").Listens(origin)
	witness := begin(t, 0, "witness", probed)
	witness.Listens(probed)
	proxy := begin(t, proxyCore, "proxy", address, origin, probed, "first")
	proxy.Listens(address)
	time.Sleep(10 * probeEvery) // the first ones are slower

	least := time.Duration(-1)
	for i := range probeMost {
		_, idle := verdicts(witness, func() { time.Sleep(time.Second) })
		spent, began := proxy.CPU(), time.Now()
		var answered string
		latest, _ := verdicts(witness, func() {
			flood := begin(t, loadCore, "flood", address, probeRound.String())
			answered = flood.Await(`(?m)^answered (\d+), of the proxied (\d+)$`)[0]
			flood.Exit()
		})
		busy := float64(proxy.CPU()-spent) / float64(time.Since(began))
		late := latest - idle
		t.Logf("round %d: the latest verdict came after %v, at rest one takes %v; %.0f %% of a processor, %s", i, latest, idle, 100*busy, answered)
		if busy >= busyMin && (least < 0 || late < least) {
			least = late
		}
		if i+1 >= probeRounds && 0 <= least && least <= lateMax {
			return
		}
	}
	if least < 0 {
		t.Skip("the machine left no time for a load")
	}
	t.Errorf("in every round a verdict was late by %v or more, want at most %v", least, lateMax)
}

// verdicts returns how late the latest verdict was while f ran, and how late half of them
// were at most: in coming, and from then on.
func verdicts(witness *rig.Process, f func()) (latest, median time.Duration) {
	began, before := time.Now(), len(witness.Text())
	f()
	left := time.Since(began) // of which no probe has come yet
	var late []time.Duration
	for _, m := range probeLine.FindAllStringSubmatch(witness.Text()[before:], -1) {
		gap, _ := strconv.Atoi(m[1])
		turn, _ := strconv.Atoi(m[2])
		left -= time.Duration(gap) * time.Microsecond
		late = append(late, max(0, time.Duration(gap)*time.Microsecond-probeLatest)+time.Duration(turn)*time.Microsecond)
	}
	late = append(late, max(0, left-probeLatest))
	slices.Sort(late)
	return late[len(late)-1], late[len(late)/2]
}

// probeLatest is when the next probe is due at the latest: intervals are jittered.
const probeLatest = probeEvery * 11 / 10

const (
	floodPiped   = 24 // connections that are answered by the proxy itself
	floodProxied = 24 // connections that are answered by an endpoint
	piped        = 16 // requests at once
)

// beFlood asks for so long for more than a proxy can do: on some connections for what it
// answers by itself, many at a time, which costs those who ask next to nothing.
func beFlood(args []string) error {
	rig.Prefer()
	long, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	one, err := rig.Dial(args[0])
	if err != nil {
		return err
	}
	nobody := []byte("GET /nobody HTTP/1.1\r\nHost: x\r\n\r\n")
	a, err := one.Do(nobody)
	one.Close()
	if err != nil || a.Status != 404 {
		return fmt.Errorf("%d, %w", a.Status, err)
	}
	size := int64(len(a.Head) + len(a.Body))

	end := time.Now().Add(long)
	var group sync.WaitGroup
	var own, proxied [floodPiped + floodProxied]int
	for i := range floodPiped {
		group.Go(func() {
			c, err := net.Dial("tcp", args[0])
			if err != nil {
				return
			}
			defer c.Close()
			many := bytes.Repeat(nobody, piped)
			for time.Now().Before(end) {
				if _, err := c.Write(many); err != nil {
					return
				}
				if _, err := io.CopyN(io.Discard, c, piped*size); err != nil {
					return
				}
				own[i] += piped
			}
		})
	}
	for i := range floodProxied {
		group.Go(func() {
			c, err := rig.Dial(args[0])
			if err != nil {
				return
			}
			defer c.Close()
			for time.Now().Before(end) {
				if a, err := c.Do([]byte("GET /load HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil || a.Status != 200 {
					return
				}
				proxied[i]++
			}
		})
	}
	group.Wait()
	sum := func(all []int) (n int) {
		for _, one := range all {
			n += one
		}
		return n
	}
	fmt.Printf("answered %d, of the proxied %d\n", sum(own[:]), sum(proxied[:]))
	return nil
}
