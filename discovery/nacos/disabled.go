package nacos

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/poise-lb/poise/discovery/internal/client"
)

// Servers leave instances that an operator has disabled out of what they push and list, so
// a list alone does not tell them from instances that are gone. The HTTP interface for one
// instance still has them. So a list that lacks known instances is held back for a moment,
// and they are asked for there, and then the list once more:
//
//	the server knows it and does not list it  →  disabled: its operator said so
//	the server does not know it               →  missing
//
// Where the HTTP interface cannot be asked, all of them count as missing.

const (
	// inquiriesMax bounds how many instances of a service are asked for after one list.
	inquiriesMax = 32
	// inquireAgain is when the HTTP interface is asked again after it could not be.
	inquireAgain = 30 * time.Second
)

// place is what makes two hosts of a service the same instance here.
type place struct {
	ip   string
	port int
}

func (h hostJSON) place() place { return place{h.IP, h.Port} }

// without returns the hosts of list that are not in other.
func without(list, other []hostJSON) []hostJSON {
	there := make(map[place]bool, len(other))
	for _, h := range other {
		there[h.place()] = true
	}
	var out []hostJSON
	for _, h := range list {
		if !there[h.place()] {
			out = append(out, h)
		}
	}
	return out
}

// doubts are the instances that the held list lacks, as far as they are asked for. Called
// with the link's mu held.
func (t *topic) doubts() []hostJSON {
	out := append(without(t.hosts, t.held), without(t.disabled, t.held)...)
	return out[:min(len(out), inquiriesMax)]
}

// inquire asks for the instances that held lists lack and ends their hold. list asks for the
// list of a service. All of it takes no longer than one answer may.
func (l *link) inquire(ctx context.Context, s server, list func(context.Context, *topic) ([]hostJSON, error)) {
	ctx, cancel := context.WithTimeout(ctx, l.config.Timeout)
	defer cancel()
	l.mu.Lock()
	asked := make(map[*topic][]hostJSON)
	pushes := make(map[*topic]int)
	for _, t := range l.topics {
		if t.asking {
			asked[t], pushes[t] = t.doubts(), t.pushes
		}
	}
	l.mu.Unlock()
	for t, doubts := range asked {
		disabled, err := l.disabled(ctx, s, t, doubts)
		var again []hostJSON
		if err == nil && len(disabled) > 0 {
			again, err = list(ctx, t)
		}
		l.judge(t, pushes[t], disabled, again, err)
	}
}

// judge ends the hold of t's list, by the disabled instances that it lacks and, if there are some,
// the list that came after they were asked for. pushes is how many had come before that.
func (l *link) judge(t *topic, pushes int, disabled, again []hostJSON, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil { // what was known of them stays
		l.incurious = time.Now().Add(inquireAgain)
	} else {
		t.disabled = disabled
	}
	if again != nil && t.asking && t.pushes == pushes { // a push would be newer
		t.held = again
	}
	if t.asking {
		l.take(t, t.held)
	}
}

// disabled returns those of the doubtful instances that the server knows.
func (l *link) disabled(ctx context.Context, s server, t *topic, doubts []hostJSON) (out []hostJSON, err error) {
	for _, h := range doubts {
		known, err := l.cluster.web.knows(ctx, s, t.subject, h)
		if err != nil {
			return nil, err
		}
		if known {
			h.Enabled = new(bool)
			out = append(out, h)
		}
	}
	return out, nil
}

// knows reports whether the server has an instance, listed or not: 2.x by its interface for
// clients, 3.x by that for operators, to which the user must be admitted.
func (w *web) knows(ctx context.Context, s server, of subject, h hostJSON) (bool, error) {
	if _, err := w.token(ctx, s); err != nil {
		return false, err
	}
	query := url.Values{
		"namespaceId": {w.config.Namespace}, "groupName": {of.group}, "serviceName": {of.service},
		"ip": {h.IP}, "port": {strconv.Itoa(h.Port)}, "cluster": {h.Cluster}, "clusterName": {h.Cluster},
	}
	w.config.sign(query, of)
	for _, path := range []string{"/v1/ns/instance", "/v3/admin/ns/instance"} {
		res, data, err := w.do(ctx, http.MethodGet, s.http+path+"?"+query.Encode(), nil)
		switch {
		case err != nil:
			return false, err
		case res.StatusCode == http.StatusForbidden:
			return false, client.Refused(res, "")
		case res.StatusCode != http.StatusOK:
			continue // versions differ in how they say no
		}
		var found struct {
			hostJSON
			Data *hostJSON `json:"data"` // 3.x
		}
		if json.Unmarshal(data, &found) != nil {
			continue
		}
		if found.Data != nil {
			found.hostJSON = *found.Data
		}
		if found.place() == h.place() {
			return true, nil
		}
	}
	return false, nil
}
