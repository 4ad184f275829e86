package snapshot

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/poise-lb/poise/endpoint"
)

const (
	// nameMax bounds the name of a file, in bytes, without what follows it.
	nameMax = 120
	// sizeMax bounds what is read: a snapshot of 100,000 endpoints has about 15 MB.
	sizeMax = 64 << 20
)

// path is the file of a name: letters, digits, "-", "_" and "." stand for themselves and
// other bytes as %xx. Capitals are among those, because "A" and "a" are one file in some
// file systems, and so is a leading dot. What becomes too long ends in its hash.
func path(folder, name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		plain := 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.' && i > 0
		if plain {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	text := b.String()
	if len(text) > nameMax {
		h := fnv.New64a()
		io.WriteString(h, name)
		text = fmt.Sprintf("%s%%%016x", text[:nameMax-17], h.Sum64())
	}
	return filepath.Join(folder, text+".json")
}

// A file is where one set is kept.
type file struct {
	path string
	name string // whose set it is
}

// kept is what a file holds: set is nil if it holds nothing.
type kept struct {
	set     []endpoint.Spec
	written time.Time
}

// content is a file in JSON.
type content struct {
	Version   int       `json:"version"`
	Service   string    `json:"service"`
	Written   time.Time `json:"written"`
	Endpoints []entry   `json:"endpoints"`
}

type entry struct {
	Scheme   string            `json:"scheme"`
	Address  string            `json:"address"`
	Instance string            `json:"instance,omitempty"`
	Host     string            `json:"host,omitempty"`
	Weight   float64           `json:"weight,omitempty"`
	Out      bool              `json:"out,omitempty"`
	Zone     string            `json:"zone,omitempty"`
	Priority int               `json:"priority,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
}

// read returns what the file holds. That there is none is no error.
func (f file) read() (kept, error) {
	in, err := os.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return kept{}, nil
	}
	if err != nil {
		return kept{}, fmt.Errorf("snapshot is ignored: %w", err)
	}
	defer in.Close()
	data, err := io.ReadAll(io.LimitReader(in, sizeMax+1))
	if err == nil && len(data) > sizeMax {
		err = fmt.Errorf("larger than %d bytes", sizeMax)
	}
	if err == nil {
		var k kept
		if k, err = f.parse(data); err == nil {
			return k, nil
		}
	}
	return kept{}, fmt.Errorf("snapshot %s is damaged and ignored: %w", f.path, err)
}

// parse believes all of a file or nothing.
func (f file) parse(data []byte) (kept, error) {
	var c content
	if err := json.Unmarshal(data, &c); err != nil {
		return kept{}, err
	}
	switch {
	case c.Version != 1:
		return kept{}, fmt.Errorf("version %d, not 1", c.Version)
	case c.Service != f.name:
		return kept{}, fmt.Errorf("it is that of %q, not of %q", c.Service, f.name)
	case len(c.Endpoints) == 0:
		return kept{}, errors.New("it names no endpoint")
	}
	k := kept{written: c.Written, set: make([]endpoint.Spec, 0, len(c.Endpoints))}
	seen := make(map[endpoint.ID]bool, len(c.Endpoints))
	for i, e := range c.Endpoints {
		s := endpoint.Spec{
			ID:   endpoint.ID{Scheme: e.Scheme, Address: e.Address, Instance: e.Instance},
			Host: e.Host, Weight: e.Weight, Out: e.Out, Zone: e.Zone, Priority: e.Priority, Metadata: e.Metadata,
		}
		if err := check(s.ID); err != nil {
			return kept{}, fmt.Errorf("endpoint %d: %w", i, err)
		}
		if !seen[s.ID] {
			seen[s.ID] = true
			k.set = append(k.set, s)
		}
	}
	order(k.set)
	return k, nil
}

// order sorts a set by the IDs of its endpoints.
func order(set []endpoint.Spec) {
	slices.SortStableFunc(set, func(a, b endpoint.Spec) int { return a.Compare(b.ID) })
}

func check(id endpoint.ID) error {
	if id.Scheme != "http" && id.Scheme != "https" && id.Scheme != "h2c" {
		return fmt.Errorf("scheme %q", id.Scheme)
	}
	if path, unix := strings.CutPrefix(id.Address, "unix:"); unix && path != "" {
		return nil
	}
	_, err := netip.ParseAddrPort(id.Address)
	return err
}

// write replaces the file in one step, readable by its owner only: metadata is nobody
// else's business. The folder is made if there is none.
func (f file) write(set []endpoint.Spec) (err error) {
	c := content{Version: 1, Service: f.name, Written: time.Now().UTC().Truncate(time.Second)}
	for _, s := range set {
		c.Endpoints = append(c.Endpoints, entry{
			Scheme: s.Scheme, Address: s.Address, Instance: s.Instance,
			Host: s.Host, Weight: s.Weight, Out: s.Out, Zone: s.Zone, Priority: s.Priority, Metadata: s.Metadata,
		})
	}
	data, err := json.MarshalIndent(c, "", "\t")
	if err != nil {
		return fmt.Errorf("snapshot not written: %w", err)
	}
	if err := f.replace(append(data, '\n')); err != nil {
		return fmt.Errorf("snapshot not written: %w", err)
	}
	return nil
}

func (f file) replace(data []byte) error {
	folder := filepath.Dir(f.path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	out, err := os.CreateTemp(folder, ".snapshot-*") // made with 0600
	if err != nil {
		return err
	}
	_, err = out.Write(data)
	if err == nil {
		err = out.Sync() // or a crash may leave the new name without content
	}
	if e := out.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(out.Name(), f.path)
	}
	if err != nil {
		os.Remove(out.Name())
	}
	return err
}
