package rig

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Patience is how long is waited for what takes milliseconds on a machine that is not busy.
const Patience = 20 * time.Second

// A Command is a program to start.
type Command struct {
	Path string
	Args []string
	Env  []string // besides the test's own
	Core int      // 1 + the processor it may use; 0: all

	Stdin  io.Reader // nil: nothing
	Stdout io.Writer // nil: gathered together with the standard error
}

// A Process is a program that was started. Its methods belong to the test's goroutine,
// except for Said and Text.
type Process struct {
	t    testing.TB
	cmd  *exec.Cmd
	out  output
	done chan struct{} // closed when it has ended
}

// output gathers what a process prints.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Start starts a program, which is killed when the test ends, if it still runs then.
func Start(t testing.TB, c Command) *Process {
	t.Helper()
	path, args := c.Path, c.Args
	if c.Core > 0 {
		path, args = Program(t, "taskset"), append([]string{"-c", strconv.Itoa(c.Core - 1), path}, args...)
	}
	p := &Process{t: t, cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), c.Env...)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = c.Stdin, c.Stdout, &p.out
	if c.Stdout == nil {
		p.cmd.Stdout = &p.out
	}
	EndWithParent(p.cmd)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the process, which Cleanup sees to
		defer close(p.done)
		p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("%s %q said:\n%s", c.Path, c.Args, tail(p.Text(), 60))
		}
	})
	return p
}

// tail is the last n lines of s.
func tail(s string, n int) string {
	lines := strings.SplitAfter(s, "\n")
	return strings.Join(lines[max(len(lines)-n, 0):], "")
}

// Text is what the process has printed so far.
func (p *Process) Text() string { return p.out.String() }

// Said counts the matches of pattern in what the process has printed so far.
func (p *Process) Said(pattern string) int {
	return len(regexp.MustCompile(pattern).FindAllString(p.Text(), -1))
}

// Await waits until the process has printed what matches pattern and returns the
// submatches.
func (p *Process) Await(pattern string) []string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(Patience); ; time.Sleep(5 * time.Millisecond) {
		ended := p.Ended() // asked first: what it printed before counts
		if m := re.FindStringSubmatch(p.Text()); m != nil {
			return m
		}
		if ended || time.Now().After(deadline) {
			p.t.Fatalf("%s did not say %s", p.cmd.Path, pattern)
		}
	}
}

// Ended reports whether the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Signal sends a signal.
func (p *Process) Signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// Kill ends the process without a farewell and waits for its end.
func (p *Process) Kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// Exit waits for the end of the process and returns its exit code.
func (p *Process) Exit() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(Patience):
		p.t.Fatalf("%s did not end", p.cmd.Path)
	}
	return p.cmd.ProcessState.ExitCode()
}

// CPU is the processor time of the process so far; see the function. The process must be
// running.
func (p *Process) CPU() time.Duration {
	p.t.Helper()
	sum, err := CPU(p.ID())
	if err != nil {
		p.t.Fatalf("the processor time of %s is not to be had: %v", p.cmd.Path, err)
	}
	return sum
}

// ID is that of the process.
func (p *Process) ID() int { return p.cmd.Process.Pid }

// CPU is the processor time that the threads of a process have used, in user and system
// mode, as Linux counts it, in nanoseconds. Those of threads that have ended are missing;
// no proxy that is measured ends threads in the course of its work.
func CPU(process int) (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", process))
	if err != nil {
		return 0, err
	}
	if len(files) == 0 {
		return 0, fmt.Errorf("process %d has no threads", process)
	}
	var sum time.Duration
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return 0, err
		}
		var onCPU int64
		if _, err := fmt.Sscan(string(b), &onCPU); err != nil {
			return 0, err
		}
		sum += time.Duration(onCPU)
	}
	return sum, nil
}

// Run runs a program to its end and returns what it printed.
func Run(t testing.TB, path string, args ...string) string {
	t.Helper()
	p := Start(t, Command{Path: path, Args: args})
	if code := p.Exit(); code != 0 {
		t.Fatalf("%s %q: exit code %d\n%s", path, args, code, p.Text())
	}
	return p.Text()
}
