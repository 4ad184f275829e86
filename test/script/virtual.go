package script

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/virtual"
)

// virtualStage plays in a virtual world: every actor is a coroutine.
type virtualStage struct {
	world     *virtual.World
	addresses int
	ports     uint16
	log       ringLog
}

func (v *virtualStage) Now() time.Duration { return v.world.Now() }

func (v *virtualStage) Sleep(d time.Duration) { v.world.Runtime().Sleep(v.world.Now() + d) }

func (v *virtualStage) Go(name string, f func()) { v.world.Daemon(name, f) }

func (v *virtualStage) Listen(address string) (listener, error) {
	if address == "" {
		v.addresses++
		address = fmt.Sprintf("10.0.0.%d:80", v.addresses)
	}
	return virtualListener{v.world.Listen(address), address}, nil
}

func (v *virtualStage) Dial(from, address string) (conn, error) {
	if from == "" {
		from = "127.0.0.1"
	}
	ip, err := netip.ParseAddr(from)
	if err != nil {
		return nil, err
	}
	v.ports++
	return v.world.Connect(netip.AddrPortFrom(ip, 1024+v.ports), address, 0)
}

func (v *virtualStage) BlackHole(address string) error {
	v.world.BlackHole(address)
	return nil
}

func (v *virtualStage) NewWakeup() wakeup { return v.world.Runtime().NewWakeup() }

func (v *virtualStage) Shortage(yes bool) { v.world.Shortage = yes }

type virtualListener struct {
	*virtual.Listener
	address string
}

func (l virtualListener) Accept() (conn, error) { return l.Listener.Accept() }

func (l virtualListener) Address() string { return l.address }

// rehearse runs f as the main task of a virtual world and demands that afterwards no
// task is left: neither an actor's nor the proxy's.
func rehearse(w *virtual.World, f func() error) error {
	var result error
	done := false
	w.Go("script", func() {
		result = f()
		done = true
	})
	err := w.RunUntil(func() bool { return done }, time.Hour)
	if err == nil && result == nil {
		err = w.Run()
		if left := w.Blocked(); err == nil && len(left) > 0 {
			err = fmt.Errorf("tasks left behind: %w", virtual.Stuck(left))
		}
	}
	if result != nil {
		err = result
	}
	if stopErr := w.Stop(); err == nil && stopErr != nil {
		err = stopErr
	}
	return err
}

var _ conn = engine.Stream(nil)
