package h2

// WebSockets from clients with HTTP/2 to an endpoint with HTTP/2: what holds for tunnels over
// HTTP/1.1 holds for them: timeouts.tunnel, a reload without their service, a drain.

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/core"
)

// sockets2 is an endpoint that takes every extended CONNECT and echoes. The test reads resets when
// the tunnel is over.
type sockets2 struct{ resets []http2.ErrCode }

func (e *sockets2) serve(s io.ReadWriteCloser) {
	defer s.Close()
	if _, err := io.ReadFull(s, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	framer, decoder := http2.NewFramer(s, s), hpack.NewDecoder(4096, nil)
	framer.WriteSettings(http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1})
	for {
		f, err := framer.ReadFrame()
		if err != nil {
			return
		}
		switch f := f.(type) {
		case *http2.HeadersFrame:
			status := "200"
			if fields, _ := decoder.DecodeFull(f.HeaderBlockFragment()); field(fields, ":protocol") != "websocket" {
				status = "400"
			}
			var block bytes.Buffer
			hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: status})
			framer.WriteHeaders(http2.HeadersFrameParam{StreamID: f.StreamID, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: status != "200"})
		case *http2.DataFrame:
			framer.WriteData(f.StreamID, f.StreamEnded(), f.Data())
		case *http2.RSTStreamFrame:
			e.resets = append(e.resets, f.ErrCode)
		case *http2.PingFrame:
			if !f.IsAck() {
				framer.WritePing(true, f.Data)
			}
		}
	}
}

// withTunnel plays f beside an open tunnel of c, on stream 1, in front of e.
func withTunnel(t *testing.T, change func(*config.Config), f func(w *world, c *peer, a *answer, e *sockets2) error) {
	inWorlds(t, nil, func(w *world) error {
		e := &sockets2{}
		l := w.Listen("10.0.0.2:80")
		w.Daemon("endpoint", func() {
			for {
				s, err := l.Accept()
				if err != nil {
					return
				}
				w.Daemon("connection of the endpoint", func() { e.serve(s) })
			}
		})
		cfg := configuration("h2c://10.0.0.2:80")
		change(&cfg)
		proxy, err := core.New(w.Runtime(), cfg, core.Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		first := w.proxy
		w.proxy = proxy
		defer func() {
			proxy.Hurry()
			w.shut()
			w.proxy, w.closed = first, false
		}()
		c, err := dial(w, false)
		if err != nil {
			return err
		}
		defer c.wire.Close()
		c.head(1, false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":path", "/", ":authority", "a.example", "sec-websocket-version", "13")
		a := c.answer(1)
		c.read(patience, func() bool { return a.status != "" || a.reset })
		if a.status != "200" {
			return fmt.Errorf("the tunnel: %s", a)
		}
		if err := echo(c, a, "one"); err != nil {
			return err
		}
		return f(w, c, a, e)
	})
}

// echo sends text through the tunnel and wants it back.
func echo(c *peer, a *answer, text string) error {
	a.content = nil
	c.framer.WriteData(1, false, []byte(text))
	if c.read(patience, func() bool { return len(a.content) >= len(text) || a.reset }); string(a.content) != text || a.reset {
		return fmt.Errorf("the tunnel has brought %s for %q; %s", a, text, c)
	}
	return nil
}

func TestATunnelThatIsSilentEnds(t *testing.T) {
	quiet := func(c *config.Config) { c.Timeouts.Tunnel = 90 * time.Second }
	withTunnel(t, quiet, func(w *world, c *peer, a *answer, e *sockets2) error {
		for range 3 {
			if c.read(time.Minute, func() bool { return a.reset || a.over }) {
				return fmt.Errorf("it has ended within a minute: %s", a)
			}
			if err := echo(c, a, "again"); err != nil {
				return err
			}
		}
		began := w.Now()
		c.read(10*time.Minute, func() bool { return a.reset || a.over })
		if took := w.Now() - began; took < 89*time.Second || took > 92*time.Second || a.code != http2.ErrCodeCancel {
			return fmt.Errorf("it ended after %v: %s", took, a)
		}
		w.Sleep(time.Second)
		if len(e.resets) != 1 || e.resets[0] != http2.ErrCodeCancel {
			return fmt.Errorf("the endpoint was told %v", e.resets)
		}
		return c.takesRequests(3)
	})
}

// takesRequests reports whether the connection takes requests still: the endpoint refuses what opens no tunnel.
func (c *peer) takesRequests(id uint32) error {
	c.head(id, true, get("/")...)
	if a := c.finished(id); a.status != "400" {
		return fmt.Errorf("a request behind it: %s; %s", a, c)
	}
	return nil
}

func TestATunnelOutlivesItsService(t *testing.T) {
	withTunnel(t, func(*config.Config) {}, func(w *world, c *peer, a *answer, e *sockets2) error {
		if err := w.proxy.Apply(configuration("http://10.0.0.1:80")); err != nil {
			return err
		}
		for range 3 {
			if c.read(10*time.Minute, func() bool { return a.reset || a.over }) {
				return fmt.Errorf("it has ended: %s", a)
			}
			if err := echo(c, a, "still here"); err != nil {
				return err
			}
		}
		c.framer.WriteData(1, true, []byte("bye"))
		if c.finished(1); a.reset || !a.over || len(e.resets) > 0 {
			return fmt.Errorf("its end: %s, resets %v", a, e.resets)
		}
		return nil
	})
}

func TestADrainWaitsForATunnel(t *testing.T) {
	withTunnel(t, func(*config.Config) {}, func(w *world, c *peer, a *answer, e *sockets2) error {
		closed := w.Runtime().Fork(func() { w.shut() })
		if c.read(10*time.Second, func() bool { return a.reset || a.over }) {
			return fmt.Errorf("a drain has ended it: %s", a)
		}
		if len(c.goAways) == 0 {
			return fmt.Errorf("a drain says nothing: %s", c)
		}
		if err := echo(c, a, "still here"); err != nil {
			return err
		}
		w.proxy.Hurry() // what timeouts.drain does
		c.over(patience)
		closed.Wait()
		if a.over {
			return fmt.Errorf("a tunnel that was broken off looks whole: %s", a)
		}
		return nil
	})
}
