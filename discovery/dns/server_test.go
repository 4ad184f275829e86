package dns

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// A zone is what the test's name server knows: records by name and type, in the form
// "A 60 192.0.2.1" or "SRV 60 10 3 8080 a.test.", and what it does wrong.
type zone struct {
	records map[string][]string         // by absolute name in lower case
	rcodes  map[string]dnsmessage.RCode // by absolute name, or name and type
	silent  map[string]bool             // by absolute name, or name and type: no answer
	mangle  func(reply []byte) [][]byte // what is sent instead, over UDP
	before  func(m *dnsmessage.Message) // changes an answer
	soa     uint32                      // negative answers hold so many seconds; 0: they do not say
	limit   int                         // bytes over UDP; more is truncated; 0: 65535
	noEDNS  bool                        // answers FORMERR to what it does not know
	extra   bool                        // sends the addresses of SRV targets along
}

// A server is a name server on 127.0.0.1, over UDP and TCP at the same port.
type server struct {
	address string

	mu    sync.Mutex
	zone  zone
	asked []string // network, name and type of every question
}

func (s *server) set(change func(*zone)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.zone)
}

// questions returns what was asked since the last call.
func (s *server) questions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
}

func newServer(t *testing.T, z zone) *server {
	t.Helper()
	var udp net.PacketConn
	var tcp net.Listener
	for range 50 { // until a port is free for both
		var err error
		if udp, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if tcp, err = net.Listen("tcp", udp.LocalAddr().String()); err == nil {
			break
		}
		udp.Close()
	}
	s := &server{address: udp.LocalAddr().String(), zone: z}
	var running sync.WaitGroup
	running.Go(func() { s.serveUDP(udp) })
	running.Go(func() {
		for {
			conn, err := tcp.Accept()
			if err != nil {
				return
			}
			running.Go(func() { s.serveTCP(conn) })
		}
	})
	t.Cleanup(func() {
		udp.Close()
		tcp.Close()
		running.Wait()
	})
	return s
}

func (s *server) serveUDP(conn net.PacketConn) {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		reply, mangle := s.reply("udp", buf[:n])
		if reply == nil {
			continue
		}
		replies := [][]byte{reply}
		if mangle != nil {
			replies = mangle(reply)
		}
		for _, r := range replies {
			conn.WriteTo(r, from)
		}
	}
}

func (s *server) serveTCP(conn net.Conn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return
	}
	question := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, question); err != nil {
		return
	}
	if reply, _ := s.reply("tcp", question); reply != nil {
		conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
	}
}

func (s *server) reply(network string, packet []byte) ([]byte, func([]byte) [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var m dnsmessage.Message
	if err := m.Unpack(packet); err != nil || len(m.Questions) != 1 {
		return nil, nil
	}
	q := m.Questions[0]
	name := strings.ToLower(q.Name.String())
	typed := name + " " + strings.TrimPrefix(q.Type.String(), "Type")
	s.asked = append(s.asked, network+" "+typed)
	if s.zone.silent[name] || s.zone.silent[typed] {
		return nil, nil
	}
	edns := len(m.Additionals) > 0
	m.Additionals = nil
	m.Response, m.RecursionAvailable = true, true
	if s.zone.noEDNS && edns {
		m.RCode, m.Questions = dnsmessage.RCodeFormatError, nil
		packed, _ := m.Pack()
		return packed, nil
	}
	s.answer(&m, name, q.Type)
	if code, ok := s.zone.rcodes[typed]; ok {
		m.RCode = code
	} else if code, ok := s.zone.rcodes[name]; ok {
		m.RCode = code
	}
	if s.zone.soa > 0 && len(m.Answers) == 0 {
		h := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName("test."), Class: dnsmessage.ClassINET, TTL: 3600}
		n := dnsmessage.MustNewName("ns.test.")
		m.Authorities = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.SOAResource{NS: n, MBox: n, MinTTL: s.zone.soa}}}
	}
	if s.zone.before != nil {
		s.zone.before(&m)
	}
	packed, err := m.Pack()
	if err != nil {
		panic(err)
	}
	if limit := s.zone.limit; network == "udp" && limit > 0 && len(packed) > limit {
		m.Truncated, m.Answers, m.Additionals = true, m.Answers[:1], nil
		packed, _ = m.Pack()
	}
	return packed, s.zone.mangle
}

// answer follows names as a recursive server does.
func (s *server) answer(m *dnsmessage.Message, name string, want dnsmessage.Type) {
	if _, ok := s.zone.records[name]; !ok {
		m.RCode = dnsmessage.RCodeNameError
	}
	for range 40 {
		next := ""
		for _, record := range s.zone.records[name] {
			r := resource(name, record)
			alias, isAlias := r.Body.(*dnsmessage.CNAMEResource)
			if isAlias {
				next = alias.CNAME.String()
			}
			if !isAlias && r.Header.Type != want {
				continue
			}
			m.Answers = append(m.Answers, r)
			if srv, ok := r.Body.(*dnsmessage.SRVResource); ok && s.zone.extra {
				target := strings.ToLower(srv.Target.String())
				for _, record := range s.zone.records[target] {
					m.Additionals = append(m.Additionals, resource(target, record))
				}
			}
		}
		if next == "" {
			return
		}
		name = next
	}
}

// resource makes a record of its text.
func resource(name, text string) dnsmessage.Resource {
	words := strings.Fields(text)
	number := func(i int) uint64 {
		n, err := strconv.ParseUint(words[i], 10, 32)
		if err != nil {
			panic(err)
		}
		return n
	}
	r := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Class: dnsmessage.ClassINET, TTL: uint32(number(1))}}
	switch words[0] {
	case "CNAME":
		r.Header.Type, r.Body = dnsmessage.TypeCNAME, &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(words[2])}
	case "A":
		r.Header.Type, r.Body = dnsmessage.TypeA, &dnsmessage.AResource{A: netip.MustParseAddr(words[2]).As4()}
	case "AAAA":
		r.Header.Type, r.Body = dnsmessage.TypeAAAA, &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr(words[2]).As16()}
	case "SRV":
		r.Header.Type, r.Body = dnsmessage.TypeSRV, &dnsmessage.SRVResource{
			Priority: uint16(number(2)), Weight: uint16(number(3)), Port: uint16(number(4)), Target: dnsmessage.MustNewName(words[5]),
		}
	default:
		panic(text)
	}
	return r
}

// none is the path of a file that is not there.
func none(t *testing.T) string { return filepath.Join(t.TempDir(), "none") }
