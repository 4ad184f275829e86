package admin

// Profiles of the process in the format of go tool pprof. Package net/http/pprof would do, but it
// also serves them on the default mux of the program that links it.

import (
	"net/http"
	"runtime/pprof"
	"strconv"
	"time"
)

// profileMost bounds a CPU profile, in seconds.
const profileMost = 300

// profiles adds /debug/pprof/profile, which takes ?seconds (30), and one path for each profile of
// runtime/pprof: heap, goroutine, allocs, mutex and so on. ?debug=1 makes them text.
func profiles(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/profile", func(w http.ResponseWriter, r *http.Request) {
		seconds, err := strconv.Atoi(r.FormValue("seconds"))
		if err != nil || seconds <= 0 {
			seconds = 30
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		if err := pprof.StartCPUProfile(w); err != nil {
			w.Header().Del("Content-Type")
			refuse(w, http.StatusConflict, "a profile is being taken already: "+err.Error())
			return
		}
		defer pprof.StopCPUProfile()
		http.NewResponseController(w).SetReadDeadline(time.Time{}) // it would end the context of a long one
		select {
		case <-r.Context().Done():
		case <-time.After(time.Duration(min(seconds, profileMost)) * time.Second):
		}
	})
	mux.HandleFunc("GET /debug/pprof/{name}", func(w http.ResponseWriter, r *http.Request) {
		p := pprof.Lookup(r.PathValue("name"))
		if p == nil {
			refuse(w, http.StatusNotFound, "there is no profile "+clip(r.PathValue("name"))+": heap, goroutine, allocs, block, mutex, threadcreate, or profile for the CPU")
			return
		}
		debug, _ := strconv.Atoi(r.FormValue("debug"))
		w.Header().Set("Content-Type", "application/octet-stream")
		if debug > 0 {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		}
		p.WriteTo(w, debug)
	})
}
