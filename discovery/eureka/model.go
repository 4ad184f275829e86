package eureka

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/internal/client"
	"github.com/poise-lb/poise/endpoint"
)

// An answer is what /apps and /apps/delta say.
type answer struct {
	Applications *struct {
		Hash text `json:"apps__hashcode"`
		Apps list `json:"application"`
	} `json:"applications"`
}

type application struct {
	Name      text `json:"name"`
	Instances list `json:"instance"`
}

// A list is an array, or its only element without the brackets, as older servers write it.
type list []json.RawMessage

func (l *list) UnmarshalJSON(data []byte) error {
	switch {
	case bytes.Equal(data, []byte("null")):
		return nil
	case len(data) > 0 && data[0] == '[':
		return json.Unmarshal(data, (*[]json.RawMessage)(l))
	}
	*l = list{slices.Clone(json.RawMessage(data))}
	return nil
}

// A text is a string, or a number or truth value as it stands: which of them a server
// writes differs from field to field and from version to version.
type text string

func (t *text) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		return json.Unmarshal(data, (*string)(t))
	}
	if !bytes.Equal(data, []byte("null")) {
		*t = text(data)
	}
	return nil
}

// A head is what must be known even of an instance that is otherwise unreadable: the
// checksum counts it.
type head struct {
	ID     text `json:"instanceId"`
	Host   text `json:"hostName"`
	Status text `json:"status"`
	Action text `json:"actionType"`
}

type body struct {
	IP         text            `json:"ipAddr"`
	Port       port            `json:"port"`
	SecurePort port            `json:"securePort"`
	Updated    text            `json:"lastUpdatedTimestamp"`
	Metadata   map[string]text `json:"metadata"`
}

type port struct {
	Number  text `json:"$"`
	Enabled text `json:"@enabled"`
}

// An entry is one instance of the registry. It was made when it was last updated, in ms since
// 1970 by the server's clock.
type entry struct {
	client.Entry
	status string
}

const (
	statusUp = "UP"
	deleted  = "DELETED"
)

// said reports whether a status says that the instance takes no new requests. Eureka itself
// concludes none of them: an instance reports its own, and an operator overrides it.
func said(status string) bool {
	return status == "OUT_OF_SERVICE" || status == "DOWN" || status == "STARTING"
}

// apps is a copy of a registry: entries by app, in upper case, and instance.
type apps map[string]map[string]entry

// parse reads an answer. What is not one is an error, however much of it looks right: a
// set that is not complete may not be taken for one that is.
func parse(data []byte) (*answer, error) {
	var a answer
	if err := json.Unmarshal(data, &a); err != nil {
		return nil, fmt.Errorf("the answer is not Eureka's JSON: %w", err)
	}
	if a.Applications == nil {
		return nil, errors.New("the answer is not Eureka's: it has no applications")
	}
	return &a, nil
}

// apply changes the copy as the answer says. In a full answer nothing is deleted.
func (t apps) apply(a *answer, c Config) error {
	for i, raw := range a.Applications.Apps {
		var app application
		if err := json.Unmarshal(raw, &app); err != nil {
			return fmt.Errorf("application %d: %w", i+1, err)
		}
		name := strings.ToUpper(string(app.Name))
		for j, raw := range app.Instances {
			id, action, e := parseInstance(raw, c)
			if id == "" {
				id = fmt.Sprintf("instance %d", j+1)
			}
			if action == deleted {
				delete(t[name], id)
				continue
			}
			if t[name] == nil {
				t[name] = make(map[string]entry)
			}
			t[name][id] = e
		}
	}
	maps.DeleteFunc(t, func(_ string, instances map[string]entry) bool { return len(instances) == 0 })
	return nil
}

// hash is the checksum that servers send: how many instances have each status.
func (t apps) hash() string {
	counts := make(map[string]int)
	for _, instances := range t {
		for _, e := range instances {
			counts[e.status]++
		}
	}
	var b strings.Builder
	for _, status := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(&b, "%s_%d_", status, counts[status])
	}
	return b.String()
}

// set returns what one app says. Of several instances at one address, the last registration
// counts: it is what runs there now, and under which instance id is of no interest.
func (t apps) set(app string) discovery.Update {
	return client.Set(func(yield func(string, client.Entry) bool) {
		for id, e := range t[app] {
			if !yield(id, e.Entry) {
				return
			}
		}
	})
}

// parseInstance reads an instance. One that says that it takes no requests is out; one of an
// unknown status is left out, and so is one that cannot be read, but is not UP.
func parseInstance(raw json.RawMessage, c Config) (id, action string, e entry) {
	var h head
	if err := json.Unmarshal(raw, &h); err != nil {
		return "", "", entry{status: statusUp, Entry: client.Entry{Reason: "not an object"}}
	}
	id = cmp.Or(string(h.ID), string(h.Host)) // before instanceId existed, it was the host's name
	e.status = string(h.Status)
	var b body
	if err := json.Unmarshal(raw, &b); err != nil {
		e.Reason = "unreadable: " + err.Error()
	} else {
		e.Entry = client.Parsed(b.spec(string(h.Host), c))
	}
	e.Created, _ = strconv.ParseInt(string(b.Updated), 10, 64)
	e.Spec.Out = e.Spec.Out || said(e.status)
	e.None = e.status != statusUp && (e.Reason != "" || !said(e.status))
	return id, string(h.Action), e
}

// spec makes an endpoint of an instance: the secure port if it is enabled, else the other.
func (b *body) spec(host string, c Config) (endpoint.Spec, error) {
	scheme, p := "https", b.SecurePort
	if p.Enabled != "true" {
		scheme, p = "http", b.Port
	}
	if p.Enabled != "true" {
		return endpoint.Spec{}, errors.New("no port is enabled")
	}
	number, err := strconv.ParseUint(string(p.Number), 10, 16)
	if err != nil || number == 0 {
		return endpoint.Spec{}, fmt.Errorf("port %.20q is not a port", string(p.Number))
	}
	s, err := c.locate(string(b.IP), host, int(number))
	if err != nil {
		return endpoint.Spec{}, err
	}
	s.Scheme = scheme
	for k, v := range b.Metadata {
		if k == "@class" { // how the server says which kind of map it is
			continue
		}
		if s.Metadata == nil {
			s.Metadata = make(map[string]string, len(b.Metadata))
		}
		s.Metadata[k] = string(v)
	}
	s.Zone = s.Metadata[c.ZoneKey]
	s.Weight, s.Out, err = discovery.ParseWeight(s.Metadata[c.WeightKey])
	return s, err
}

// locate chooses between the address and the name that an instance gives: the address if it
// gives one, unless names are preferred. The name is what TLS verifies in either case.
func (c Config) locate(ip, host string, port int) (endpoint.Spec, error) {
	first, second := ip, host
	if c.PreferHost {
		first, second = host, ip
	}
	address, name, err := discovery.Address(first, port)
	if err != nil || name != "" && !c.PreferHost {
		if a, n, e := discovery.Address(second, port); e == nil {
			address, name, err = a, n, nil
		}
	}
	if err != nil {
		return endpoint.Spec{}, fmt.Errorf("neither ipAddr %.60q nor hostName %.60q is an IP address or the name of a host", ip, host)
	}
	if name == "" {
		if _, other, err := discovery.Address(host, port); err == nil {
			name = other
		}
	}
	return endpoint.Spec{ID: endpoint.ID{Address: address}, Host: name}, nil
}
