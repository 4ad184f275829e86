package browser

// docs/tour.md as a newcomer walks it: the demo of the program itself, seen on the page.

import (
	"bufio"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The demo is started, and on the page one of its endpoints is seen ejected and returned.
func TestTour(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "poise")
	if out, err := exec.Command("go", "build", "-C", filepath.Join("..", "..", "cmd", "poise"), "-o", program).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	demo := exec.CommandContext(t.Context(), program, "demo", "--admin", "127.0.0.1:0")
	out, err := demo.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	demo.Stderr = demo.Stdout
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	lines, address := bufio.NewScanner(out), ""
	for address == "" && lines.Scan() {
		_, address, _ = strings.Cut(lines.Text(), "admin on ")
	}
	ended := make(chan struct{})
	go func() { // so that the demo does not wait for a reader
		defer close(ended)
		for lines.Scan() {
		}
		demo.Wait()
	}()
	t.Cleanup(func() { <-ended }) // the context of the test kills it
	if address == "" {
		t.Fatal("the demo does not say where its admin API is")
	}
	page := open(t, "en-US", 1280, 560, address+"/#/services/default") // docs/tour.png
	const bob = ".endpoints tr.ejected"
	page.until("an endpoint ejected, with the reason", shows(bob, "ejected")+" && "+shows(bob, "failed")+" && "+shows("#wrong li.warn", "1 of 3 endpoints ejected"))
	page.shot("tour")
	page.until("its return", `!document.querySelector("`+bob+`") && document.querySelectorAll(".endpoints tbody tr").length === 3 && `+shows("#wrong", "Nothing is wrong"))
	page.visit("events")
	page.until("both events", shows(".events tr", "Endpoint ejected")+" && "+shows(".events tr", "Endpoint healthy"))
}
