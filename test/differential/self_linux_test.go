package differential

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestScriptsAreReadAsWritten(t *testing.T) {
	for _, s := range seeds {
		for _, spell := range []bool{false, true} {
			if got := parse(s.script.input(spell)); got.String() != s.script.String() || len(got) != len(s.script) {
				t.Errorf("%s, spell %v: read as\n%swant\n%s", s.name, spell, got, s.script)
			}
		}
	}
	spelt := script{c("GET"), c(" /"), e("x")}
	if got := parse([]byte("GET\xe0 /\xe6x")); !reflect.DeepEqual(got, spelt) {
		t.Errorf("without a verb in front: %s", got)
	}
	size := 0
	for _, st := range parse(bytes.Repeat([]byte("\xe0\xbb\xff\xdf"), 10000)) {
		size += len(st.data)
	}
	if size == 0 || size > bytesMax {
		t.Errorf("a script of %d bytes", size)
	}
}

// What is to be found is put into one of the two sides here.
func TestDifferencesAreSeen(t *testing.T) {
	r := newRig(t)
	upload := "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
	for _, tt := range []struct {
		name     string
		one, two script
		differs  string
		at       int
	}{
		{"a byte from the endpoint", script{c(get), e(ok)}, script{c(get), e(ok5 + "hallo")}, "the client gets other bytes", 2},
		{"a byte from the client", script{c(get), e(ok)}, script{c(strings.Replace(get, "/", "/x", 1)), e(ok)}, "connection 1 gets other bytes", 1},
		{"bytes that come later", script{c(get), e(ok5 + "he"), e("llo")}, script{c(get), e(ok5 + "hell"), e("o")}, "the client gets other bytes", 2},
		{"bytes that are missing", script{c(get), e(ok5 + "he")}, script{c(get), e(ok5)}, "the client gets other bytes", 2},
		{"the border of a chunk", script{c(get), e(okCh + "2\r\nhe\r\n"), e("1\r\nl\r\n")}, script{c(get), e(okCh + "1\r\nh\r\n"), e("2\r\nel\r\n")}, "the client gets other bytes", 2},
		{"content in chunks", script{c(get), eOn(okCh + "2\r\nhe\r\n"), e("1\r\nl\r\n")}, script{c(get), eOn(okCh + "2\r\nhe\r\n"), e("1\r\np\r\n")}, "the client gets other bytes", 3},
		{"an end", script{c(get), e(ok)}, script{c(get), e("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello")}, "connection 1: by loop open, by goroutine FIN", 2},
		{"a reset", script{c(old), e("HTTP/1.1 200 OK\r\n\r\nhe"), eFIN()}, script{c(old), e("HTTP/1.1 200 OK\r\n\r\nhe"), eReset("")}, "the client: by loop FIN, by goroutine reset", 3},
		{"a connection", script{c(get), e(ok), c(get)}, script{c(get), eAtt(ok), c(get)}, "opens 1 connections", 3},
		{"among much", script{c(upload), c(big)}, script{c(upload), c(strings.Replace(big, "~77~", "~78~", 1))}, "connection 1 gets other bytes", 2},
		{"a client that has left", script{c(get), cFIN()}, script{c(get), c("")}, "FIN", 2},
		{"nothing", script{c(get), e(ok), cFIN()}, script{c(get), e(ok), cFIN()}, "", 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res, err := r.play([2]script{tt.one, tt.two}, pace{other: 20 * time.Millisecond, left: 400 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(res.differs, tt.differs) || (res.differs == "") != (tt.differs == "") || res.at != tt.at {
				t.Errorf("after step %d: %q, want after step %d: %q", res.at, res.differs, tt.at, tt.differs)
			}
		})
	}
}

func TestChunksAreJoined(t *testing.T) {
	head := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{ok, ok},
		{head, head},
		{head + "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", head + "(in chunks)hello(end)0\r\n\r\n"},
		{head + "5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n" + ok, head + "(in chunks)hello(end)0\r\nX-T: 1\r\n\r\n" + ok},
		{head + "2\r\nhe\r\n3\r\nl", head + "(in chunks)hel"},
		{head + "2\r\nhe\r", head + "(in chunks)he"},
		{head + ok, head + ok},
		{head + "1\r\na\r\n0\r\n\r\n" + head + "1\r\nb\r\n", head + "(in chunks)a(end)0\r\n\r\n" + head + "(in chunks)b"},
		{"2\r\nhe\r\n", "2\r\nhe\r\n"},
	} {
		if got := string(joinChunks([]byte(tt.in))); got != tt.want {
			t.Errorf("%q becomes %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestCalmSeesWhatRuns(t *testing.T) {
	r := newRig(t)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // ends below
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			//lint:ignore SA5004 it is to run and not to wait
			default:
			}
		}
	}()
	time.Sleep(10 * time.Millisecond)
	calm := 0
	for range 50 {
		if r.calm.now() {
			calm++
		}
	}
	close(stop)
	<-stopped
	if calm > 0 {
		t.Errorf("calm %d of 50 times beside a goroutine that runs", calm)
	}
	if err := r.settle(&result{}, fast); err != nil {
		t.Error(err)
	}
}

func TestDatesAreNoDifference(t *testing.T) {
	const then, later = "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n", "Date: Fri, 02 Jan 1970 00:00:00 GMT\r\n"
	head := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
	whole := head + then + "\r\n27\r\n\r\n" + then + "\r\n0\r\n\r\n"
	parts := head + later + "\r\n8\r\n\r\nDate: \r\n1f\r\n" + then[6:] + "\r\n0\r\n\r\n"
	c := comparison{loose: true}
	if one, two := c.plain([]byte(whole)), c.plain([]byte(parts)); !bytes.Equal(one, two) {
		t.Errorf("%q and %q", one, two)
	}
	c.loose = false
	if one, two := c.plain([]byte(whole)), c.plain([]byte(parts)); bytes.Equal(one, two) {
		t.Errorf("the borders of chunks are lost: %q", one)
	}
}
