package admin

// What monitoring asks for: is it alive, is it ready, how does it do.

import (
	"context"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/metric"
)

// readyFor bounds how long /readyz waits for first verdicts: probes of readiness are repeated.
const readyFor = 100 * time.Millisecond

// health adds /healthz, /readyz and /metrics.
func health(mux *http.ServeMux, p *poise.Proxy) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyFor)
		defer cancel()
		if err := p.Ready(ctx); err != nil {
			text := err.Error()
			if ctx.Err() != nil {
				text = "waiting for the first verdicts of health checks"
			}
			plain(w, http.StatusServiceUnavailable, text)
			return
		}
		plain(w, http.StatusOK, "ready")
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) { metrics(w, r, p) })
}

// metrics answers a scrape. ?scope= and ?service= may be given several times, or with commas.
func metrics(w http.ResponseWriter, r *http.Request, p *poise.Proxy) {
	var o metric.Options
	query := r.URL.Query()
	for _, word := range words(query["scope"]) {
		scope, ok := metric.ScopeOf(word)
		if !ok {
			plain(w, http.StatusBadRequest, "scope="+clip(word)+" is not known: process, route, service, endpoint, runtime")
			return
		}
		o.Scopes |= scope
	}
	o.Services = words(query["service"])
	open := metric.Accepts(r.Header.Get("Accept"))
	w.Header().Set("Content-Type", metric.PrometheusType)
	if open {
		w.Header().Set("Content-Type", metric.OpenMetricsType)
	}
	p.WriteMetrics(w, open, o) // a client that has left is no error of ours
}

// words splits values at commas.
func words(values []string) (out []string) {
	for _, v := range values {
		for word := range strings.SplitSeq(v, ",") {
			if word != "" {
				out = append(out, word)
			}
		}
	}
	return out
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	io.WriteString(w, text+"\n")
}
