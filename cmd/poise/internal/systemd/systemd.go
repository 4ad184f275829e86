// Package systemd speaks with the service manager: notifications by sd_notify's protocol,
// and sockets that it has opened. Without systemd, as its environment variables say, all of it
// does nothing.
//
//	READY=1                        serving, also after a reload
//	RELOADING=1 MONOTONIC_USEC=…   a reload has begun
//	STOPPING=1                     draining
//	MAINPID=…                      another process has taken the place of this one
//	WATCHDOG=1                     alive, twice in the time of WatchdogSec
package systemd

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

// writeFor bounds a notification: a manager that hangs holds nothing up.
const writeFor = time.Second

// A Notifier tells the service manager how the process does. The zero value tells nothing. One
// goroutine at a time may call its methods.
type Notifier struct {
	socket string        // path, or @ and an abstract name; empty: there is no manager
	every  time.Duration // between two signs of life; 0: none are wanted
}

// New reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID. They stay in the environment: the
// process that takes the place of this one needs them too.
func New() *Notifier {
	n := &Notifier{socket: os.Getenv("NOTIFY_SOCKET")}
	pid := os.Getenv("WATCHDOG_PID")
	if usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64); err == nil && usec > 0 && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		n.every = time.Duration(usec) * time.Microsecond / 2
	}
	return n
}

// Ready says that requests are served.
func (n *Notifier) Ready() error { return n.send("READY=1") }

// Reloading says that a reload has begun. Ready says that it has ended, however it did.
func (n *Notifier) Reloading() error {
	if n.socket == "" {
		return nil
	}
	return n.send(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", monotonic()))
}

// Stopping says that the process drains and ends.
func (n *Notifier) Stopping() error { return n.send("STOPPING=1") }

// MainPID says that the process pid is the service from now on. This one tells nothing more, so
// that its end is not taken for that of the service.
func (n *Notifier) MainPID(pid int) error {
	err := n.send(fmt.Sprintf("MAINPID=%d", pid))
	*n = Notifier{}
	return err
}

// Alive is a sign of life.
func (n *Notifier) Alive() error { return n.send("WATCHDOG=1") }

// Every is the time between two signs of life; 0: none are wanted.
func (n *Notifier) Every() time.Duration { return n.every }

// send sends one datagram.
func (n *Notifier) send(state string) error {
	if n.socket == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.socket, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetWriteDeadline(time.Now().Add(writeFor))
	_, err = conn.Write([]byte(state))
	return err
}
