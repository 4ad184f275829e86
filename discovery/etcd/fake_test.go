package etcd

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise/discovery/internal/client"
	"github.com/poise-lb/poise/discovery/internal/fakes"
)

// A fake is as much of etcd's JSON gateway as is used here. Its answers have the shape of
// those recorded from etcd 3.4.23. It listens in memory, so that it lives in a bubble of
// synctest, where hours take no time.
type fake struct {
	t      *testing.T
	listen *fakes.Listener
	server *http.Server

	mu       sync.Mutex
	change   chan struct{} // closed and replaced at every change
	cluster  string
	revision int64
	compact  int64
	keys     map[string]keyValue
	history  []event
	leases   map[int64]*lease
	nextID   int64
	tokens   map[string]bool
	password string // "": no authentication
	frozen   bool   // answers nothing
	mute     bool   // watches are silent
	broken   string // what every answer is instead
	modern   bool   // errors have the shape of those of 3.6
	calls    map[string]int
	denied   string // key or prefix that the user may not read
	watched  string // by the last watch
}

type event struct {
	remove bool
	kv     keyValue
}

type lease struct {
	ttl  time.Duration
	ends time.Time
}

func newFake(t *testing.T) *fake {
	f := &fake{t: t, listen: fakes.NewListener()}
	f.reset()
	mux := http.NewServeMux()
	for path, handle := range map[string]func(in map[string]any) (any, *client.StatusError){
		"/v3/kv/range": f.rangeKeys, "/v3/kv/put": f.put, "/v3/lease/grant": f.grant, "/v3/lease/revoke": f.revoke,
		"/v3/lease/keepalive": f.keepalive, "/v3/auth/authenticate": f.authenticate,
	} {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) { f.answer(w, r, handle) })
	}
	mux.HandleFunc("POST /v3/watch", f.watch)
	f.server = &http.Server{Handler: mux}
	go f.server.Serve(f.listen)
	t.Cleanup(func() { f.server.Close() })
	return f
}

// reset is a restart without data.
func (f *fake) reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cluster, f.revision, f.compact = "3586811377195397337", 1, 0
	f.keys, f.history, f.leases = make(map[string]keyValue), nil, make(map[int64]*lease)
	f.tokens, f.calls = make(map[string]bool), make(map[string]int)
	f.changed()
}

func (f *fake) changed() {
	if f.change != nil {
		close(f.change)
	}
	f.change = make(chan struct{})
}

// do changes the fake.
func (f *fake) do(what func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	what()
	f.changed()
}

func (f *fake) set(key, value string) { f.do(func() { f.write(key, value, 0) }) }

func (f *fake) write(key, value string, lease int64) {
	f.revision++
	kv := keyValue{Key: []byte(key), Value: []byte(value), Created: number(f.revision), Modified: number(f.revision), Lease: number(lease)}
	if old, ok := f.keys[key]; ok {
		kv.Created = old.Created
	}
	f.keys[key] = kv
	f.history = append(f.history, event{kv: kv})
}

func (f *fake) delete(key string) { f.do(func() { f.erase(key) }) }

func (f *fake) erase(key string) {
	if _, ok := f.keys[key]; ok {
		f.revision++
		delete(f.keys, key)
		f.history = append(f.history, event{true, keyValue{Key: []byte(key), Modified: number(f.revision)}})
	}
}

// expire ends the leases that are due.
func (f *fake) expire() {
	for id, l := range f.leases {
		if !time.Now().Before(l.ends) {
			f.drop(id)
		}
	}
}

func (f *fake) drop(id int64) {
	delete(f.leases, id)
	for _, key := range slices.Sorted(maps.Keys(f.keys)) {
		if f.keys[key].Lease == number(id) {
			f.erase(key)
		}
	}
	f.changed()
}

func (f *fake) get(key string) (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expire()
	kv, ok := f.keys[key]
	return string(kv.Value), ok
}

// count is how often a path was called.
func (f *fake) count(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[path]
}

// thaw waits while the fake is frozen, and reports whether the caller is still there.
func (f *fake) thaw(ctx context.Context) bool {
	for {
		f.mu.Lock()
		frozen, change := f.frozen, f.change
		f.mu.Unlock()
		if !frozen {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-change:
		}
	}
}

// watching is the prefix of the last watch.
func (f *fake) watching() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.watched
}

func (f *fake) answer(w http.ResponseWriter, r *http.Request, handle func(map[string]any) (any, *client.StatusError)) {
	var in map[string]any
	json.NewDecoder(r.Body).Decode(&in)
	io.Copy(io.Discard, r.Body)
	if !f.thaw(r.Context()) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expire()
	f.calls[r.URL.Path]++
	if f.broken != "" {
		io.WriteString(w, f.broken)
		return
	}
	login := strings.HasPrefix(r.URL.Path, "/v3/auth")
	if refused := f.refuse(r.Header.Get("Authorization")); refused != nil && !login {
		f.fail(w, r, refused)
		return
	}
	out, refused := handle(in)
	if refused != nil {
		f.fail(w, r, refused)
		return
	}
	data, _ := json.Marshal(out)
	w.Write(data)
}

func (f *fake) fail(w http.ResponseWriter, r *http.Request, e *client.StatusError) {
	w.WriteHeader(e.Status)
	switch {
	case f.modern && r.URL.Path == "/v3/lease/keepalive": // a stream
		fmt.Fprintf(w, `{"error":{"code":3,"message":%q}}`, e.Message)
	case f.modern:
		fmt.Fprintf(w, `{"code":3, "message":%q}`, e.Message)
	default:
		fmt.Fprintf(w, `{"error":%q,"message":%q,"code":3}`, e.Message, e.Message)
	}
}

func (f *fake) refuse(token string) *client.StatusError {
	switch {
	case f.password == "" || f.tokens[token]:
		return nil
	case token == "":
		return &client.StatusError{Status: 400, Message: "etcdserver: user name is empty"}
	}
	return &client.StatusError{Status: 401, Message: "etcdserver: invalid auth token"}
}

func (f *fake) header() map[string]any {
	return map[string]any{"cluster_id": f.cluster, "member_id": "7616583982444832909", "revision": fmt.Sprint(f.revision), "raft_term": "2"}
}

func (f *fake) rangeKeys(in map[string]any) (any, *client.StatusError) {
	first, end := text(in["key"]), text(in["range_end"])
	if first == f.denied && f.denied != "" {
		return nil, &client.StatusError{Status: 403, Message: "etcdserver: permission denied"}
	}
	out := map[string]any{"header": f.header()}
	var kvs []map[string]any
	count := 0
	for _, key := range slices.Sorted(maps.Keys(f.keys)) {
		kv := f.keys[key]
		if key != first && (end == "" || key < first || key >= end) {
			continue
		}
		count++
		if minimum, _ := in["min_mod_revision"].(float64); int64(kv.Modified) < int64(minimum) {
			continue
		}
		kvs = append(kvs, recorded(kv, in["keys_only"] == true))
	}
	if limit, _ := in["limit"].(float64); limit > 0 && len(kvs) > int(limit) {
		kvs = kvs[:int(limit)]
	}
	if count > 0 {
		out["count"] = fmt.Sprint(count)
	}
	if len(kvs) > 0 {
		out["kvs"] = kvs
	}
	return out, nil
}

// recorded has the fields of a key as the gateway writes them: none that are zero.
func recorded(kv keyValue, keyOnly bool) map[string]any {
	out := map[string]any{"key": kv.Key, "mod_revision": fmt.Sprint(kv.Modified)}
	if kv.Created > 0 {
		out["create_revision"], out["version"] = fmt.Sprint(kv.Created), "1"
	}
	if len(kv.Value) > 0 && !keyOnly {
		out["value"] = kv.Value
	}
	if kv.Lease > 0 {
		out["lease"] = fmt.Sprint(kv.Lease)
	}
	return out
}

// text is a field that is bytes.
func text(field any) string {
	s, _ := field.(string)
	data, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// whole is a field that is an int64.
func whole(field any) int64 {
	n, _ := strconv.ParseInt(fmt.Sprint(field), 10, 64)
	return n
}

func (f *fake) put(in map[string]any) (any, *client.StatusError) {
	id := whole(in["lease"])
	if id != 0 && f.leases[id] == nil {
		return nil, &client.StatusError{Status: 404, Message: "etcdserver: requested lease not found"}
	}
	key, value := text(in["key"]), text(in["value"])
	if in["ignore_value"] == true {
		value = string(f.keys[key].Value)
	}
	f.write(key, value, id)
	f.changed()
	return map[string]any{"header": f.header()}, nil
}

func (f *fake) grant(in map[string]any) (any, *client.StatusError) {
	f.nextID++
	ttl := time.Duration(whole(in["TTL"])) * time.Second
	f.leases[f.nextID] = &lease{ttl, time.Now().Add(ttl)}
	return map[string]any{"header": f.header(), "ID": fmt.Sprint(f.nextID), "TTL": in["TTL"]}, nil
}

func (f *fake) keepalive(in map[string]any) (any, *client.StatusError) {
	out := map[string]any{"header": f.header(), "ID": in["ID"]}
	if l := f.leases[whole(in["ID"])]; l != nil {
		l.ends = time.Now().Add(l.ttl)
		out["TTL"] = fmt.Sprint(int(l.ttl / time.Second))
	}
	return map[string]any{"result": out}, nil
}

func (f *fake) revoke(in map[string]any) (any, *client.StatusError) {
	id := whole(in["ID"])
	if f.leases[id] == nil {
		return nil, &client.StatusError{Status: 404, Message: "etcdserver: requested lease not found"}
	}
	f.drop(id)
	return map[string]any{"header": f.header()}, nil
}

func (f *fake) authenticate(in map[string]any) (any, *client.StatusError) {
	switch {
	case f.password == "":
		return nil, &client.StatusError{Status: 412, Message: "etcdserver: authentication is not enabled"}
	case in["name"] != "user" || in["password"] != f.password:
		return nil, &client.StatusError{Status: 400, Message: "etcdserver: authentication failed, invalid user ID or password"}
	}
	token := fmt.Sprint("token.", len(f.tokens))
	f.tokens[token] = true
	return map[string]any{"header": f.header(), "token": token}, nil
}

func (f *fake) watch(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Create struct {
			Key   []byte `json:"key"`
			End   []byte `json:"range_end"`
			Start number `json:"start_revision"`
		} `json:"create_request"`
	}
	json.NewDecoder(r.Body).Decode(&in)
	io.Copy(io.Discard, r.Body)
	if !f.thaw(r.Context()) {
		return
	}
	f.mu.Lock()
	f.calls[r.URL.Path]++
	f.watched = string(in.Create.Key)
	refused, head, compact := f.refuse(r.Header.Get("Authorization")), f.header(), f.compact
	f.mu.Unlock()
	send := func(result map[string]any) {
		data, _ := json.Marshal(map[string]any{"result": result})
		w.Write(append(data, '\n'))
		w.(http.Flusher).Flush()
	}
	if refused != nil {
		send(map[string]any{"header": head, "watch_id": "-1", "created": true, "canceled": true, "cancel_reason": "rpc error: code = Unauthenticated desc = " + refused.Message})
		return
	}
	send(map[string]any{"header": head, "created": true})
	if int64(in.Create.Start) <= compact {
		send(map[string]any{"header": head, "canceled": true, "compact_revision": fmt.Sprint(compact)})
		return
	}
	next := int64(in.Create.Start)
	for f.thaw(r.Context()) {
		f.mu.Lock()
		f.expire()
		var events []map[string]any
		for _, e := range f.history {
			if key := string(e.kv.Key); int64(e.kv.Modified) >= next && key >= string(in.Create.Key) && key < string(in.Create.End) {
				one := map[string]any{"kv": recorded(e.kv, false)}
				if e.remove {
					one["type"] = "DELETE"
				}
				events = append(events, one)
			}
		}
		head, change, mute := f.header(), f.change, f.mute
		if f.revision >= next && !mute {
			next = f.revision + 1
		}
		f.mu.Unlock()
		if len(events) > 0 && !mute {
			send(map[string]any{"header": head, "events": events})
		}
		select {
		case <-r.Context().Done():
			return
		case <-change:
		case <-time.After(500 * time.Millisecond): // a lease may have ended
		}
	}
}
