// Package file is the source that watches an endpoint list in a file. What the file looks
// like is its caller's business.
package file

import (
	"context"
	"fmt"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/filewatch"
)

// Parse turns the content of a file into endpoints. Entries that cannot be used are
// rejected, and do not spoil the others; an error is about the whole content.
type Parse = func(data []byte) ([]endpoint.Spec, []discovery.Reject, error)

// A Source watches one file. Make it with New. Its Run may be called again, but not
// concurrently.
//
// Writers do best to write another file and rename it: what is written in place may be
// read half-way. A file that is missing, or that parse does not accept, leaves the last
// set in use and publishes the error; so does an empty one, if parse refuses it.
type Source struct {
	path  string
	parse Parse

	last    filewatch.Sum // of the content that was published
	fresh   bool          // last is what was published last, rather than an error
	failure string        // the last error that was published, so that polling does not repeat it
}

// New returns a source for the file at path, which parse turns into endpoints. Specs must
// not be modified after parse has returned them.
func New(path string, parse Parse) *Source {
	return &Source{path: path, parse: parse}
}

// Run publishes the set when the file is first read and whenever its content changes. How
// changes are seen is in internal/filewatch.
func (s *Source) Run(ctx context.Context, publish func(discovery.Update)) error {
	s.fresh, s.failure = false, ""
	w := filewatch.New(false, func() { s.look(publish) })
	w.Follow(map[string]filewatch.Sum{s.path: s.look(publish)})
	w.Run(ctx)
	return nil
}

// look reads the file and publishes what it says, if that is not what was said last.
func (s *Source) look(publish func(discovery.Update)) (sum filewatch.Sum) {
	data, err := filewatch.Read(s.path, 0)
	if err == nil {
		sum = filewatch.SumOf(data)
		if s.fresh && sum == s.last {
			return sum
		}
	}
	var specs []endpoint.Spec
	var rejected []discovery.Reject
	if err == nil {
		specs, rejected, err = s.parse(data)
	}
	if err != nil {
		if s.fresh = false; err.Error() != s.failure {
			s.failure = err.Error()
			publish(discovery.Update{Err: fmt.Errorf("endpoint list: %w", err)})
		}
		return sum
	}
	s.last, s.fresh, s.failure = sum, true, ""
	publish(discovery.Update{Endpoints: specs, Rejected: rejected})
	return sum
}
