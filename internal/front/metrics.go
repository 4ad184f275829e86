package front

// The figures of the process for metrics, which core does not have.

import (
	"maps"
	"runtime/debug"
	"slices"
	"time"

	"github.com/poise-lb/poise/internal/scrape"
	"github.com/poise-lb/poise/metric"
)

// Collect visits the metrics.
func (srv *Server) Collect(v metric.Visitor, o metric.Options) {
	about := scrape.Process{
		Started: srv.rt.Epoch(), Now: srv.rt.Now(), Engine: srv.Engine(), Version: Version(),
		AccessLogLost: srv.access.Lost(), Certificates: srv.certificates(), Workers: srv.loops.look(),
	}
	about.SpansSent, about.SpansLost = srv.spans.Counts()
	if srv.queue != nil {
		about.LogLost = srv.queue.Lost()
	}
	scrape.Collect(srv.core, &about, v, o)
}

// Epoch is the wall-clock time at which the instants of the proxy's runtime begin.
func (srv *Server) Epoch() time.Time { return srv.rt.Epoch() }

// Release is the version that a package was built as, set by the linker (tools/packages); "" in
// other builds, whose build information says it.
var Release string

// Version is Release, or that of this module in the program, as its build says: (devel) for a build of a
// source tree.
func Version() string {
	const module = "github.com/poise-lb/poise"
	if Release != "" {
		return Release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if info.Main.Path == module || info.Main.Path == module+"/cmd/poise" {
		return info.Main.Version
	}
	for _, d := range info.Deps {
		if d.Path == module {
			return d.Version
		}
	}
	return "unknown"
}

// Engine is the word for what serves connections.
func (srv *Server) Engine() string {
	if srv.loops != nil {
		return engineLoop
	}
	return engineGoroutine
}

// certificates are those of the listeners that are served, by file.
func (srv *Server) certificates() (all []scrape.Certificate) {
	ends := make(map[string]time.Time)
	srv.mu.Lock()
	for l := range srv.listeners {
		if t, ok := l.(*tlsListener); ok {
			maps.Copy(ends, t.store.Ends())
		}
	}
	srv.mu.Unlock()
	for _, file := range slices.Sorted(maps.Keys(ends)) {
		all = append(all, scrape.Certificate{Name: file, Ends: ends[file]})
	}
	return all
}
