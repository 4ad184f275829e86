package queues

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/test/internal/rig"
)

// variable has the name of the row in the process of the endpoints.
const variable = "POISE_TEST_QUEUES"

// Role serves the endpoints, and does not return, in the process that Start has started. Elsewhere
// it does nothing.
func Role() {
	name := os.Getenv(variable)
	if name == "" {
		return
	}
	if err := serve(name); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serve prints the addresses of all endpoints on one line and then, for each line it is sent, how
// many requests every endpoint has taken so far. It ends when its input ends.
func serve(name string) error {
	row, ok := RowOf(name)
	if !ok {
		return fmt.Errorf("no row %q", name)
	}
	began := time.Now()
	all := make([]*endpoint, Endpoints)
	line := "addresses"
	for i := range all {
		e := &endpoint{row: &row, odd: i == Odd, index: i, began: began}
		if err := e.start(); err != nil {
			return err
		}
		all[i] = e
		line += " " + e.address
	}
	fmt.Println(line)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		line := "taken"
		for _, e := range all {
			line += fmt.Sprint(" ", e.taken.Load())
		}
		fmt.Println(line)
	}
	return nil
}

// A Process is the process of the endpoints, from outside.
type Process struct {
	Addresses []string
	ask       io.Writer
	lines     *bufio.Scanner
}

// Start starts the endpoints of a row. They end with the test.
func Start(t *testing.T, row string) *Process {
	t.Helper()
	in, ask, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	lines, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	rig.Start(t, rig.Command{Path: self, Env: []string{variable + "=" + row}, Stdin: in, Stdout: out})
	in.Close()
	out.Close()
	t.Cleanup(func() { ask.Close(); lines.Close() })
	p := &Process{ask: ask, lines: bufio.NewScanner(lines)}
	p.Addresses = p.line(t, "addresses")
	return p
}

// line reads a line and returns its words after the first.
func (p *Process) line(t *testing.T, first string) []string {
	t.Helper()
	if !p.lines.Scan() {
		t.Fatal("the endpoints have ended")
	}
	words := strings.Fields(p.lines.Text())
	if len(words) != 1+Endpoints || words[0] != first {
		t.Fatalf("the endpoints said %q", p.lines.Text())
	}
	return words[1:]
}

// Taken is how many requests each endpoint has taken.
func (p *Process) Taken(t *testing.T) (n [Endpoints]int) {
	t.Helper()
	fmt.Fprintln(p.ask, "taken?")
	for i, word := range p.line(t, "taken") {
		if _, err := fmt.Sscan(word, &n[i]); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// URLs lists the endpoints for --to.
func (p *Process) URLs() string {
	return "http://" + strings.Join(p.Addresses, ",http://")
}
