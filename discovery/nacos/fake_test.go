package nacos

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/internal/fakes"
)

// A fake is a server that answers as real ones (2.3.2 and 3.1.0) do.
type fake struct {
	t *testing.T
	n *fakes.Network

	mu       sync.Mutex
	services map[subject]map[string]map[string]any // address to instance
	clients  map[int]*fakeClient                   // by connection
	history  map[string]bool                       // every set that service web ever had
	kinds    []string                              // requests
	conns    int
	stopGRPC func()
	stopHTTP func()
	handlers gate

	silent   chan struct{} // non-nil: no answer and no push until it is closed
	losePush bool
	answers  time.Duration // how long an answer takes that has been made
	tokens   map[string]bool
	secret   string // of the access key "key"; "": requests need not be signed
	logins   int
	ttl      int
	version3 bool
	webless  bool            // the HTTP interface breaks every connection
	refuse   map[string]bool // services that may not be subscribed
}

type fakeClient struct {
	out     chan payload
	gone    context.Context
	watches map[subject]bool
	owns    map[string]subject
	replies chan payload
}

const fakePushDelay = 500 * time.Millisecond

type connKey struct{}

func newFake(t *testing.T, n *fakes.Network) *fake {
	f := &fake{t: t, n: n, services: make(map[subject]map[string]map[string]any), clients: make(map[int]*fakeClient),
		history: map[string]bool{"": true}, ttl: 18000}
	f.startGRPC()
	f.startHTTP()
	t.Cleanup(func() { f.stopGRPC(); f.stopHTTP() })
	return f
}

func (f *fake) serve(addr string, s *http.Server) func() {
	l := f.n.Listen(addr)
	done := make(chan struct{})
	go func() { s.Serve(l); close(done) }()
	return sync.OnceFunc(func() {
		s.Close()
		<-done
		f.handlers.wait()
	})
}

func (f *fake) startGRPC() {
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	s := &http.Server{Handler: http.HandlerFunc(f.grpc), Protocols: &p, ConnContext: f.connection}
	f.stopGRPC = f.serve("one:9848", s)
}

// connection gives each connection a number: what is announced over it ends with it.
func (f *fake) connection(ctx context.Context, _ net.Conn) context.Context {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conns++
	return context.WithValue(ctx, connKey{}, f.conns)
}

func (f *fake) startHTTP() {
	f.stopHTTP = f.serve("one:8848", &http.Server{Handler: http.HandlerFunc(f.web)})
}

// restart loses everything, as a restarted server does: connections and what was announced
// over them.
func (f *fake) restart(down time.Duration) {
	f.stopGRPC()
	f.stopHTTP()
	time.Sleep(down)
	f.mu.Lock()
	clear(f.services)
	f.mu.Unlock()
	f.startGRPC()
	f.startHTTP()
}

func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fake) count(kind string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range f.kinds {
		if k == kind {
			n++
		}
	}
	f.kinds = nil
	return n
}

func host(ip string, port int, zone string) map[string]any {
	return map[string]any{"ip": ip, "port": port, "weight": 1.0, "healthy": true, "enabled": true, "ephemeral": true,
		"clusterName": "DEFAULT", "metadata": map[string]any{"zone": zone}}
}

var webSubject = subject{"DEFAULT_GROUP", "web"}

func (f *fake) put(s subject, in map[string]any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.services[s] == nil {
		f.services[s] = make(map[string]map[string]any)
	}
	f.services[s][fmt.Sprint(in["ip"], ":", in["port"])] = in
	f.changed(s)
}

func (f *fake) drop(s subject, address string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.services[s], address)
	f.changed(s)
}

func (f *fake) changed(s subject) {
	f.history[f.oracle()] = true
	for _, c := range f.clients {
		if c.watches[s] {
			f.push(c, s)
		}
	}
}

// push sends the list as it is after the delay.
func (f *fake) push(c *fakeClient, s subject) {
	f.handlers.run(func() {
		select {
		case <-time.After(fakePushDelay):
		case <-c.gone.Done():
			return
		}
		f.mu.Lock()
		lose, body := f.losePush, f.json(map[string]any{"requestId": "7", "serviceInfo": f.info(s)})
		f.mu.Unlock()
		if lose {
			return
		}
		select {
		case c.out <- payload{kind: "NotifySubscriberRequest", body: body}:
		case <-c.gone.Done():
		}
	})
}

func (f *fake) json(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

// info is a service as messages show it.
func (f *fake) info(s subject) map[string]any {
	hosts := []any{}
	for _, in := range f.services[s] {
		if in["enabled"] == true {
			hosts = append(hosts, in)
		}
	}
	return map[string]any{"name": s.service, "groupName": s.group, "clusters": "", "cacheMillis": 10000, "hosts": hosts,
		"lastRefTime": time.Now().UnixMilli(), "checksum": "", "allIPs": false, "reachProtectionThreshold": false, "valid": true}
}

// oracle is the set of web, computed without the code under test.
func (f *fake) oracle() string {
	var out []string
	for _, in := range f.services[webSubject] {
		if in["enabled"] == true && in["healthy"] == true {
			out = append(out, fmt.Sprintf("http://%s:%v %s", in["ip"], in["port"], in["metadata"].(map[string]any)["zone"]))
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func shown(u discovery.Update) string {
	var out []string
	for _, s := range u.Endpoints {
		if !s.Out {
			out = append(out, s.URL()+" "+s.Zone)
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// outs are the addresses of a set that are out.
func outs(u discovery.Update) string {
	var out []string
	for _, s := range u.Endpoints {
		if s.Out {
			out = append(out, s.Address)
		}
	}
	return strings.Join(out, " ")
}

func (f *fake) hang(ctx context.Context) {
	f.mu.Lock()
	silent := f.silent
	f.mu.Unlock()
	if silent != nil {
		select {
		case <-silent:
		case <-ctx.Done():
		}
	}
}

func (f *fake) grpc(w http.ResponseWriter, r *http.Request) {
	f.handlers.enter()
	defer f.handlers.leave()
	f.hang(r.Context())
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status")
	if r.URL.Path == "/BiRequestStream/requestBiStream" {
		f.stream(w, r)
		return
	}
	message, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	p, err := readPayload(bytes.NewReader(message))
	if err != nil || r.Header.Get("TE") != "trailers" {
		f.t.Errorf("request: %v", err)
		return
	}
	answer := f.call(r.Context().Value(connKey{}).(int), p, headersOf(message[5:]))
	f.mu.Lock()
	late := f.answers
	f.mu.Unlock()
	select {
	case <-time.After(late):
	case <-r.Context().Done():
	}
	w.Write(answer.frame())
	w.Header().Set("Grpc-Status", "0")
}

// headersOf reads the headers of a message.
func headersOf(message []byte) map[string]string {
	out := make(map[string]string)
	fields(message, func(number uint64, meta []byte) error {
		if number != 2 {
			return nil
		}
		return fields(meta, func(number uint64, entry []byte) error {
			if number != 7 {
				return nil
			}
			name := ""
			return fields(entry, func(number uint64, value []byte) error {
				if number == 1 {
					name = string(value)
				} else {
					out[name] = string(value)
				}
				return nil
			})
		})
	})
	return out
}

// signed reports whether a request about a service has the signature that it must have, by
// what get finds. Called with mu held.
func (f *fake) signed(s subject, get func(string) string) bool {
	if f.secret == "" {
		return true
	}
	at, what, _ := strings.Cut(get("data"), "@@")
	ms, _ := strconv.ParseInt(at, 10, 64)
	mac := hmac.New(sha1.New, []byte(f.secret))
	mac.Write([]byte(get("data")))
	return get("ak") == "key" && what == s.group+"@@"+s.service && time.Since(time.UnixMilli(ms)).Abs() < 10*time.Second &&
		get("signature") == base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func (f *fake) call(conn int, p payload, headers map[string]string) payload {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kinds = append(f.kinds, p.kind)
	failed := func(code int, message string) payload {
		return payload{kind: "ErrorResponse", body: f.json(map[string]any{"resultCode": 500, "errorCode": code, "message": message, "success": false})}
	}
	if p.kind == "ServerCheckRequest" {
		return payload{kind: "ServerCheckResponse", body: []byte(`{"resultCode":200,"errorCode":0,"connectionId":"x","success":true}`)}
	}
	c := f.clients[conn]
	if c == nil {
		return failed(301, "Connection is unregistered.")
	}
	if f.tokens != nil && !f.tokens[headers["accessToken"]] {
		return failed(403, "token invalid!")
	}
	var in struct {
		GroupName   string
		ServiceName string
		Type        string
		Subscribe   bool
		Instance    map[string]any
	}
	if err := json.Unmarshal(p.body, &in); err != nil {
		f.t.Errorf("%s: %v", p.kind, err)
	}
	s := subject{in.GroupName, in.ServiceName}
	if s.service != "" && !f.signed(s, func(name string) string { return headers[name] }) {
		return failed(403, "no right")
	}
	out := map[string]any{"resultCode": 200, "errorCode": 0, "success": true}
	switch p.kind {
	case "HealthCheckRequest":
	case "SubscribeServiceRequest":
		if f.refuse[s.service] {
			return failed(500, "no such thing")
		}
		if in.Subscribe {
			c.watches[s] = true
			f.push(c, s)
		} else {
			delete(c.watches, s)
		}
		out["serviceInfo"] = f.info(s)
	case "ServiceQueryRequest":
		out["serviceInfo"] = f.info(s)
	case "InstanceRequest":
		f.announce(c, s, in.Type, in.Instance)
	default:
		return failed(500, "unknown "+p.kind)
	}
	return payload{kind: strings.TrimSuffix(p.kind, "Request") + "Response", body: f.json(out)}
}

func (f *fake) announce(c *fakeClient, s subject, kind string, in map[string]any) {
	address := fmt.Sprint(in["ip"], ":", in["port"])
	if kind == "registerInstance" {
		if f.services[s] == nil {
			f.services[s] = make(map[string]map[string]any)
		}
		f.services[s][address] = in
		c.owns[address] = s
	} else {
		delete(f.services[s], address)
		delete(c.owns, address)
	}
	f.changed(s)
}

// stream is the connection's stream; when it ends, so do the instances announced over it.
func (f *fake) stream(w http.ResponseWriter, r *http.Request) {
	p, err := readPayload(r.Body)
	if err != nil || p.kind != "ConnectionSetupRequest" {
		return
	}
	conn := r.Context().Value(connKey{}).(int)
	ctx, cancel := context.WithCancel(r.Context())
	c := &fakeClient{out: make(chan payload), gone: ctx, watches: make(map[subject]bool), owns: make(map[string]subject), replies: make(chan payload, 1000)}
	time.Sleep(70 * time.Millisecond) // a real server takes as long to take notice
	f.set(func() { f.clients[conn] = c })
	f.handlers.run(func() {
		defer cancel()
		for {
			p, err := readPayload(r.Body)
			if err != nil {
				return
			}
			select {
			case c.replies <- p:
			default:
			}
		}
	})
	for ctx.Err() == nil {
		select {
		case p := <-c.out:
			f.hang(ctx)
			w.Write(p.frame())
			w.(http.Flusher).Flush()
		case <-ctx.Done():
		}
	}
	cancel()
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.clients, conn)
	for address, s := range maps.Clone(c.owns) {
		delete(f.services[s], address)
		f.changed(s)
	}
}

func (f *fake) web(w http.ResponseWriter, r *http.Request) {
	f.handlers.enter()
	defer f.handlers.leave()
	f.hang(r.Context())
	content, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kinds = append(f.kinds, r.Method+" "+r.URL.Path)
	if f.webless {
		panic(http.ErrAbortHandler)
	}
	q := r.URL.Query()
	s := subject{q.Get("groupName"), q.Get("serviceName")}
	if s.service != "" && !f.signed(s, q.Get) {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	switch {
	case r.URL.Path == "/nacos/v1/auth/login" && !f.version3, r.URL.Path == "/nacos/v3/auth/user/login" && f.version3:
		f.logins++
		if string(content) != "password=right&username=me" {
			w.WriteHeader(map[bool]int{false: http.StatusForbidden, true: http.StatusInternalServerError}[f.version3])
			return
		}
		token := fmt.Sprint("token", f.logins)
		if f.tokens != nil {
			f.tokens[token] = true
		}
		w.Write(f.json(map[string]any{"accessToken": token, "tokenTtl": f.ttl, "globalAdmin": true}))
	case r.URL.Path == "/nacos/v1/ns/instance/list" && !f.version3:
		info := f.info(s)
		info["name"] = s.group + "@@" + s.service
		w.Write(f.json(info))
	case r.URL.Path == "/nacos/v1/ns/instance" && !f.version3, r.URL.Path == "/nacos/v3/admin/ns/instance" && f.version3:
		in := f.services[s][q.Get("ip")+":"+q.Get("port")]
		if in == nil || in["clusterName"] != q.Get("cluster") {
			w.WriteHeader(http.StatusNotFound)
			w.Write([]byte("caused: no matched ip found!;"))
			return
		}
		// It does not say whether the instance is enabled.
		detail := map[string]any{"service": s.group + "@@" + s.service, "ip": in["ip"], "port": in["port"],
			"clusterName": in["clusterName"], "weight": in["weight"], "healthy": in["healthy"], "metadata": in["metadata"]}
		if f.version3 {
			detail = map[string]any{"code": 0, "message": "success", "data": detail}
		}
		w.Write(f.json(detail))
	case r.URL.Path == "/nacos/v3/client/ns/instance/list" && f.version3:
		w.Write(f.json(map[string]any{"code": 0, "message": "success", "data": f.info(s)["hosts"]}))
	case f.version3:
		w.WriteHeader(http.StatusGone)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}
