package zookeeper

import (
	"encoding/binary"
	"io"
	"net"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A server is a small ZooKeeper in memory: nodes, sessions, one-shot watches, and the
// faults that a test asks for.
type server struct {
	address string
	listen  net.Listener
	ends    sync.WaitGroup

	mu       sync.Mutex
	nodes    map[string]*node
	zxid     int64
	next     int64 // session
	sessions map[int64]bool
	conns    map[*peer]bool
	accepted int
	timeout  int32                                             // in ms, that sessions get
	frozen   chan struct{}                                     // not nil: nothing is answered until it is closed
	greet    []byte                                            // instead of an answer to a connection
	reply    func(op int32, path string, answer []byte) []byte // nil: as it is; an answer of nil breaks the connection
	acl      map[string]string                                 // path: digest that may read
}

type node struct {
	data                []byte
	owner               int64
	czxid, mzxid, pzxid int64
}

// A peer is one connection.
type peer struct {
	net.Conn
	session int64
	auth    string
	data    map[string]bool // watched
	list    map[string]bool
	write   sync.Mutex
}

func newServer(t *testing.T) *server {
	s := &server{timeout: 8000, next: 100, nodes: make(map[string]*node), sessions: make(map[int64]bool), conns: make(map[*peer]bool)}
	s.nodes["/"] = &node{}
	s.start(t, "127.0.0.1:0")
	t.Cleanup(s.stop)
	return s
}

func (s *server) start(t *testing.T, address string) {
	t.Helper()
	var err error
	for range 100 { // the port may be in use for a moment
		if s.listen, err = net.Listen("tcp", address); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.address = s.listen.Addr().String()
	s.ends.Go(func() {
		for {
			conn, err := s.listen.Accept()
			if err != nil {
				return
			}
			p := &peer{Conn: conn, data: make(map[string]bool), list: make(map[string]bool)}
			s.mu.Lock()
			s.conns[p] = true
			s.accepted++
			s.mu.Unlock()
			s.ends.Go(func() { s.serve(p) })
		}
	})
}

// stop ends the server and all connections. Its nodes and sessions stay.
func (s *server) stop() {
	s.listen.Close()
	s.thaw()
	s.cut()
	s.ends.Wait()
}

// cut breaks all connections.
func (s *server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.conns {
		p.Close()
	}
}

func (s *server) freeze() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frozen = make(chan struct{})
}

func (s *server) thaw() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frozen != nil {
		close(s.frozen)
		s.frozen = nil
	}
}

// forget loses everything, as a restart without data does.
func (s *server) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodes, s.sessions, s.zxid = map[string]*node{"/": {}}, make(map[int64]bool), 0
}

// expire ends all sessions.
func (s *server) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.sessions {
		s.end(id)
	}
	for p := range s.conns {
		p.Close()
	}
}

func (s *server) end(session int64) {
	delete(s.sessions, session)
	for name, n := range s.nodes {
		if n.owner == session {
			s.remove(name)
		}
	}
}

func (s *server) set(name, data string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := 1; i < len(name); i++ {
		if name[i] == '/' && s.nodes[name[:i]] == nil {
			s.put(name[:i], nil, 0)
		}
	}
	s.put(name, []byte(data), 0)
}

func (s *server) delete(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(name)
}

func (s *server) get(name string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nodes[name]
	if n == nil {
		return "", false
	}
	return string(n.data), true
}

const (
	created = 1 + iota
	deleted
	changed
	children
)

func (s *server) put(name string, data []byte, owner int64) {
	s.zxid++
	if n := s.nodes[name]; n != nil {
		n.data, n.mzxid = data, s.zxid
		s.fire(changed, name)
		return
	}
	s.nodes[name] = &node{data: data, owner: owner, czxid: s.zxid, mzxid: s.zxid, pzxid: s.zxid}
	s.nodes[path.Dir(name)].pzxid = s.zxid
	s.fire(created, name)
	s.fire(children, path.Dir(name))
}

func (s *server) remove(name string) {
	s.zxid++
	delete(s.nodes, name)
	if up := s.nodes[path.Dir(name)]; up != nil {
		up.pzxid = s.zxid
	}
	s.fire(deleted, name)
	s.fire(children, path.Dir(name))
}

// fire tells who watches, once.
func (s *server) fire(kind int32, name string) {
	for p := range s.conns {
		if kind == children && p.list[name] || kind != children && p.data[name] || kind == deleted && p.list[name] {
			if kind == children || kind == deleted {
				delete(p.list, name)
			}
			if kind != children {
				delete(p.data, name)
			}
			b := new(buffer).i32(-1).i64(s.zxid).i32(0).i32(kind).i32(3).text(name)
			go p.send(b.b) // it may not wait for a connection that is not read
		}
	}
}

func (p *peer) send(frame []byte) {
	p.write.Lock()
	defer p.write.Unlock()
	p.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...))
}

// buffer writes and reads the protocol's values.
type buffer struct{ b []byte }

func (b *buffer) i32(v int32) *buffer { b.b = binary.BigEndian.AppendUint32(b.b, uint32(v)); return b }
func (b *buffer) i64(v int64) *buffer { b.b = binary.BigEndian.AppendUint64(b.b, uint64(v)); return b }
func (b *buffer) bit(v byte) *buffer  { b.b = append(b.b, v); return b }
func (b *buffer) text(s string) *buffer {
	b.i32(int32(len(s)))
	b.b = append(b.b, s...)
	return b
}
func (b *buffer) take(n int) []byte {
	out := b.b[:n]
	b.b = b.b[n:]
	return out
}
func (b *buffer) int32() int32 { return int32(binary.BigEndian.Uint32(b.take(4))) }
func (b *buffer) int64() int64 { return int64(binary.BigEndian.Uint64(b.take(8))) }
func (b *buffer) string() string {
	return string(b.take(max(0, int(b.int32()))))
}

func (s *server) stat(b *buffer, name string) {
	n := s.nodes[name]
	b.i64(n.czxid).i64(n.mzxid).i64(0).i64(0).i32(0).i32(0).i32(0).i64(n.owner).i32(int32(len(n.data))).i32(0).i64(n.pzxid)
}

func (p *peer) frame() (*buffer, error) {
	var head [4]byte
	if _, err := io.ReadFull(p, head[:]); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:]))
	_, err := io.ReadFull(p, body)
	return &buffer{body}, err
}

func (s *server) wait() {
	s.mu.Lock()
	frozen := s.frozen
	s.mu.Unlock()
	if frozen != nil {
		<-frozen
	}
}

func (s *server) serve(p *peer) {
	defer func() {
		p.Close()
		s.mu.Lock()
		delete(s.conns, p)
		s.mu.Unlock()
	}()
	b, err := p.frame()
	s.wait()
	if err != nil || !s.greeting(p, b) {
		return
	}
	for {
		b, err := p.frame()
		if err != nil {
			return
		}
		s.wait()
		s.mu.Lock()
		answer, end := s.answer(p, b)
		s.mu.Unlock()
		if answer == nil {
			return
		}
		p.send(answer)
		if end {
			return
		}
	}
}

func (s *server) greeting(p *peer, b *buffer) bool {
	b.int32()
	seen := b.int64()
	b.int32()
	p.session = b.int64()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.greet != nil:
		p.Write(s.greet)
		return false
	case seen > s.zxid:
		return false // it has seen more than there is
	case p.session != 0 && !s.sessions[p.session]:
		p.send(new(buffer).i32(0).i32(0).i64(0).text(strings.Repeat("\x00", 16)).bit(0).b)
		return false
	case p.session == 0:
		s.next++
		p.session = s.next
		s.sessions[p.session] = true
	}
	p.send(new(buffer).i32(0).i32(s.timeout).i64(p.session).text(strings.Repeat("p", 16)).bit(0).b)
	return true
}

const (
	noNode = -101
	noAuth = -102
	exists = -110
)

// answer does what a request asks for.
func (s *server) answer(p *peer, b *buffer) (frame []byte, end bool) {
	xid, op := b.int32(), b.int32()
	head := func(code int32) *buffer { return new(buffer).i32(xid).i64(s.zxid).i32(code) }
	out := head(0)
	name := ""
	switch op {
	case 11: // ping
	case -11: // close
		s.end(p.session)
		end = true
	case 100: // auth
		b.int32()
		b.string()
		p.auth = b.string()
	case 101: // set watches: what changed meanwhile is told
		since := b.int64()
		for kind := range 3 {
			for range b.int32() {
				if w := b.string(); kind == 2 {
					p.list[w] = true
				} else {
					p.data[w] = true
				}
				_ = since
			}
		}
	case 1: // create
		name = b.string()
		data, _ := b.string(), b.acl()
		out = head(s.create(p, name, data, b.int32())).text(name)
	case 2: // delete
		if name = b.string(); s.nodes[name] == nil {
			out = head(noNode)
		} else {
			s.remove(name)
		}
	case 14: // multi: a delete and a create
		s.multi(p, b, out)
	case 3, 4, 12: // exists, data, children
		name = b.string()
		watch := b.take(1)[0] == 1
		n := s.nodes[name]
		if digest := s.acl[name]; digest != "" && digest != p.auth && op != 3 {
			return head(noAuth).b, false
		}
		if watch && op == 12 && n != nil {
			p.list[name] = true
		} else if watch && (op == 3 || n != nil) {
			p.data[name] = true
		}
		switch {
		case n == nil:
			out = head(noNode)
		case op == 4:
			out.text(string(n.data))
			s.stat(out, name)
		case op == 12:
			names := s.childrenOf(name)
			out.i32(int32(len(names)))
			for _, c := range names {
				out.text(c)
			}
			s.stat(out, name)
		default:
			s.stat(out, name)
		}
	default:
		return nil, true
	}
	if s.reply != nil {
		out.b = s.reply(op, name, out.b)
	}
	return out.b, end
}

func (b *buffer) acl() int {
	n := b.int32()
	for range n {
		b.int32()
		b.string()
		b.string()
	}
	return int(n)
}

func (s *server) create(p *peer, name, data string, flags int32) int32 {
	switch {
	case s.nodes[name] != nil:
		return exists
	case s.nodes[path.Dir(name)] == nil:
		return noNode
	case flags == 1:
		s.put(name, []byte(data), p.session)
	default:
		s.put(name, []byte(data), 0)
	}
	return 0
}

func (s *server) multi(p *peer, b, out *buffer) {
	for {
		kind, done := b.int32(), b.take(1)[0] == 1
		b.int32()
		switch {
		case done:
			out.i32(-1).bit(1).i32(-1)
			return
		case kind == 2:
			s.remove(b.string())
			b.int32()
			out.i32(2).bit(0).i32(0)
		default:
			name, data, _ := b.string(), b.string(), b.acl()
			s.create(p, name, data, b.int32())
			out.i32(1).bit(0).i32(0).text(name)
		}
	}
}

func (s *server) childrenOf(name string) []string {
	var names []string
	for n := range s.nodes {
		if n != "/" && path.Dir(n) == name {
			names = append(names, path.Base(n))
		}
	}
	slices.Sort(names)
	return names
}
