package engine

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
)

func TestExhausted(t *testing.T) {
	at := func(errno syscall.Errno) error {
		return fmt.Errorf("dial: %w", &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", errno)})
	}
	for _, test := range []struct {
		err  error
		want bool
	}{
		{at(syscall.EMFILE), true},
		{at(syscall.ENFILE), true},
		{at(syscall.ENOMEM), true},
		{fmt.Errorf("dial: %w", ErrExhausted), true},
		{at(syscall.EADDRNOTAVAIL), false}, // only of Dial, and only when ports ran out
		{at(syscall.ECONNREFUSED), false},
		{ErrTimeout, false},
		{nil, false},
	} {
		if got := Exhausted(test.err); got != test.want {
			t.Errorf("%v: %v", test.err, got)
		}
	}
}

// TestPortsRanOutOrNoAddress: both are EADDRNOTAVAIL. Only the former is a shortage; the
// latter lasts, and the endpoint is to be taken out.
func TestPortsRanOutOrNoAddress(t *testing.T) {
	err := os.NewSyscallError("connect", syscall.EADDRNOTAVAIL)
	if !DialExhausted("tcp", "127.0.0.1:80", err) {
		t.Error("127.0.0.1 can be reached, so what was missing is a port")
	}
	if DialExhausted("tcp", "127.0.0.1:80", errors.New("other")) {
		t.Error("an error of another kind is no shortage")
	}
	if _, err := net.Dial("udp", "[::1]:80"); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Skip("this machine has IPv6")
	}
	if DialExhausted("tcp", "[::1]:80", err) {
		t.Error("without IPv6 a port would not help")
	}
}
